import { Type, type Static } from 'typebox';
import { sectionFile } from './files.ts';
import type { InstallationPaths } from './home.ts';
import { burstIn, burstOut, comment, rateIn, rateOut, trafficRuleName, userId } from './schemas.ts';
import { sectionType } from './section-config.ts';
import { SectionTable } from './section-table.ts';

/** traffic-control.cfg (spec rest-api 9.7). */

const { Optional } = Type;

export const trafficRuleSchema = Type.Object({
  name: trafficRuleName,
  network: Type.Array(Type.String({ pattern: '^[0-9a-fA-F:.]{2,45}/[0-9]{1,3}$', maxLength: 43, format: 'cidr', description: 'Network.' }), { minItems: 1, maxItems: 1024, description: 'Networks (CIDR) that the rule is for.' }),
  'burst-in': Optional(burstIn),
  'burst-out': Optional(burstOut),
  comment: Optional(comment),
  'rate-in': Optional(rateIn),
  'rate-out': Optional(rateOut),
  timeframe: Optional(Type.Array(Type.String({ format: 'daily-duration', description: 'Time frame, e.g. `mon..fri 8-17:30`.' }), { maxItems: 1024, description: 'When the rule holds; always when absent.' })),
  users: Optional(Type.Array(userId, { maxItems: 1024, description: 'Users that the rule is for; everybody when absent.' })),
});
export type TrafficRule = Static<typeof trafficRuleSchema>;
export const trafficRuleType = sectionType('rule', 'name', trafficRuleSchema);
export type TrafficRuleTable = SectionTable<typeof trafficRuleSchema>;

export function trafficRuleTable(paths: InstallationPaths): TrafficRuleTable {
  return new SectionTable(sectionFile(paths, 'traffic-control.cfg', [trafficRuleType]), trafficRuleType);
}
