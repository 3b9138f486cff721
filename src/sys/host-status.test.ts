import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { CpuMeter, parseCpuInfo, parseCpuTimes, parseMemory, readBootInfo } from './host-status.ts';

test('processor times', () => {
  const text = 'cpu  100 5 50 800 20 1 4 20 7 7\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 5\n';
  assert.deepEqual(parseCpuTimes(text), { total: 1000, busy: 180, wait: 20 });
  assert.deepEqual(parseCpuTimes('nothing'), { total: 0, busy: 0, wait: 0 });
  const real = parseCpuTimes(readFileSync('/proc/stat', 'latin1'));
  assert.ok(real.total >= real.busy + real.wait && real.busy > 0);
});

test('shares are those since the last look, and since boot at first', () => {
  const meter = new CpuMeter();
  assert.deepEqual(meter.shares({ total: 1000, busy: 100, wait: 10 }, 0), { cpu: 0.1, wait: 0.01 });
  assert.deepEqual(meter.shares({ total: 1001, busy: 101, wait: 10 }, 10), { cpu: 0.1, wait: 0.01 }, 'too soon to say more');
  assert.deepEqual(meter.shares({ total: 1200, busy: 200, wait: 60 }, 1000), { cpu: 0.5, wait: 0.25 });
  assert.deepEqual(meter.shares({ total: 1200, busy: 200, wait: 60 }, 2000), { cpu: 0.5, wait: 0.25 }, 'no tick in between');
  assert.deepEqual(meter.shares({ total: 1300, busy: 200, wait: 50 }, 3000), { cpu: 0, wait: 0 }, 'iowait may go back');
});

test('memory', () => {
  const text = 'MemTotal:       1000 kB\nMemFree:         200 kB\nMemAvailable:    600 kB\nBuffers: 1 kB\nSwapTotal:       50 kB\nSwapFree:        20 kB\nHugePages_Total:  0\n';
  assert.deepEqual(parseMemory(text), { memory: { total: 1_024_000, used: 409_600, free: 204_800 }, swap: { total: 51_200, used: 30_720, free: 20_480 } });
  const { memory } = parseMemory(readFileSync('/proc/meminfo', 'latin1'));
  assert.ok(memory.total > 0 && memory.used > 0 && memory.used < memory.total);
});

test('processors', () => {
  const one = (i: number, socket: number): string => `processor\t: ${i}\nmodel name\t: AMD EPYC\nphysical id\t: ${socket}\n\n`;
  assert.deepEqual(parseCpuInfo(one(0, 0) + one(1, 0) + one(2, 1)), { cpus: 3, model: 'AMD EPYC', sockets: 2 });
  assert.deepEqual(parseCpuInfo('processor\t: 0\nBogoMIPS\t: 50\n'), { cpus: 1, model: 'unknown', sockets: 1 });
  assert.ok(parseCpuInfo(readFileSync('/proc/cpuinfo', 'latin1')).cpus >= availableParallelism());
});

test('how the host was started', async () => {
  const { mode, secureboot } = await readBootInfo();
  assert.ok(mode === 'efi' || (mode === 'legacy-bios' && !secureboot));
});
