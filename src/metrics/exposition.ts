import { Counter, Gauge, Registry } from 'prom-client';

/** One number with its labels. */
export interface Sample {
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** One metric: samples have exactly the labels named. */
export interface Metric {
  name: string;
  help: string;
  type: 'gauge' | 'counter';
  labels: readonly string[];
  samples: readonly Sample[];
}

export const expositionType = Registry.PROMETHEUS_CONTENT_TYPE;

const longestLabel = 128;

/** Metrics in the text format of Prometheus. Samples that are no finite numbers are left out, long label values are cut. */
export async function expose(metrics: readonly Metric[]): Promise<string> {
  const registry = new Registry();
  for (const { name, help, type, labels, samples } of metrics) {
    const given = samples.filter(({ value }) => Number.isFinite(value));
    if (given.length === 0) continue;
    const options = { name, help, labelNames: [...labels], registers: [registry] };
    const gauge = type === 'gauge' ? new Gauge(options) : null;
    const counter = type === 'counter' ? new Counter(options) : null;
    for (const sample of given) {
      const shown = Object.fromEntries(labels.map((label) => [label, (sample.labels[label] ?? '').slice(0, longestLabel)]));
      gauge?.set(shown, sample.value);
      counter?.inc(shown, sample.value);
    }
  }
  return registry.metrics();
}

export function gauge(name: string, help: string, labels: readonly string[], samples: readonly Sample[]): Metric {
  return { name, help, type: 'gauge', labels, samples };
}

export function counter(name: string, help: string, labels: readonly string[], samples: readonly Sample[]): Metric {
  return { name, help, type: 'counter', labels, samples };
}
