import { readFile, statfs } from 'node:fs/promises';
import { loadavg, machine, release, type as systemName, uptime, version } from 'node:os';
import { Type } from 'typebox';
import { CpuMeter, parseCpuInfo, parseCpuTimes, parseMemory, readBootInfo } from '../../sys/host-status.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { nodeParameter } from './node-parameter.ts';

/** Status of the host (spec rest-api 10.1). `fingerprint`: of the certificate that is served now. */
export function nodeStatusEndpoints({ fingerprint }: { fingerprint: () => string }): Endpoint[] {
  const meter = new CpuMeter();
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/status',
      description: 'Read node memory, CPU and (root) disk usage.',
      parameters: Type.Object(nodeParameter),
      permission: { kind: 'privilege', path: '/system/status', privileges: ['Sys.Audit'] },
      handler: async () => ({ ...(await hostStatus(meter)), info: { fingerprint: fingerprint() } }),
    }),
  ];
}

async function hostStatus(meter: CpuMeter): Promise<Record<string, unknown>> {
  const [procStat, meminfo, cpuinfo, root, bootInfo] = await Promise.all([
    readFile('/proc/stat', 'latin1'),
    readFile('/proc/meminfo', 'latin1'),
    readFile('/proc/cpuinfo', 'latin1'),
    statfs('/'),
    readBootInfo(),
  ]);
  const kernel = { sysname: systemName(), release: release(), version: version(), machine: machine() };
  return {
    ...meter.shares(parseCpuTimes(procStat), performance.now()),
    cpuinfo: parseCpuInfo(cpuinfo),
    loadavg: loadavg(),
    ...parseMemory(meminfo),
    root: { total: root.blocks * root.bsize, used: (root.blocks - root.bfree) * root.bsize, avail: root.bavail * root.bsize },
    uptime: Math.floor(uptime()),
    kversion: `${kernel.sysname} ${kernel.release} ${kernel.version}`,
    'current-kernel': kernel,
    'boot-info': bootInfo,
  };
}
