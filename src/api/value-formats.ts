import { errorChain } from '../base/errors.ts';
import { registerFormat, scalarProblem } from '../config/schema-check.ts';
import { parseHumanByte } from '../format/human-byte.ts';
import { registerParameterFormat } from '../protocol/parameters.ts';
import { parseGroupFilter } from '../replication/group-filter.ts';
import { parseBandwidthTimetable } from '../schedule/bandwidth-timetable.ts';
import { parseCalendarEvent } from '../schedule/calendar-event.ts';
import { parseDailyDuration } from '../schedule/daily-duration.ts';

/** Grammars behind the `format` keyword of config/schemas.ts that are at home in different layers, tied together here. */

type FormatCheck = (text: string) => string | null;

/** Complaint of a parser that throws. */
function faultOf(parse: (text: string) => unknown): FormatCheck {
  return (text) => {
    try {
      parse(text);
      return null;
    } catch (e) {
      return errorChain(e);
    }
  };
}

/** Formats that configuration files do not check by themselves. */
const laterFormats: Readonly<Record<string, FormatCheck>> = {
  'bandwidth-timetable': (text) => (text === '' ? null : faultOf(parseBandwidthTimetable)(text)),
  'calendar-event': faultOf(parseCalendarEvent),
  'daily-duration': faultOf(parseDailyDuration),
  'group-filter': faultOf(parseGroupFilter),
  'human-byte': (text) => (faultOf(parseHumanByte)(text) === null ? null : `byte-size parse error for '${text}': invalid float literal`),
};

const fileFormats = ['namespace', 'cidr', 'user-id', 'auth-id', 'host'];

let registered = false;

/** Registers all formats for configuration files and for parameters. Whoever checks parameters calls it first; again is harmless. */
export function registerValueFormats(): void {
  if (registered) return;
  registered = true;
  for (const name of fileFormats) registerParameterFormat(name, (text) => scalarProblem({ type: 'string', format: name }, text));
  for (const [name, check] of Object.entries(laterFormats)) {
    registerFormat(name, check);
    registerParameterFormat(name, check);
  }
}
