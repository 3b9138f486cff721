import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { beginMark, compatibilityPath, coverageOf, coverageText, endMark } from './support/api-coverage.ts';
import { labelOf, listedMethods, listedParameters, listedPermission, ownParameters, parameterDifferences } from './support/api-schema.ts';
import { WholeServer } from './support/whole-server.ts';

await using server = await WholeServer.make();
const { endpoints } = server.composition.router;
const covered = coverageOf(endpoints);
const byLabel = new Map(endpoints.map((endpoint) => [labelOf(endpoint), endpoint]));

/** Methods that come with the parts they belong to. */
const expectedLater: readonly RegExp[] = [/ \/config\/metrics/, / \/admin\/metrics$/, / \/status\/metrics$/];

test('docs/compatibility.md says what is there and what is not', () => {
  const document = readFileSync(compatibilityPath, 'utf8');
  const written = document.slice(document.indexOf(beginMark), document.indexOf(endMark) + endMark.length);
  assert.equal(written, coverageText(covered), 'run: node test/support/api-coverage.ts');
});

test('no listed method is missing', () => {
  const missing = covered.filter(({ coverage }) => coverage === 'missing').map(({ listed }) => labelOf(listed));
  assert.deepEqual(missing.filter((label) => !expectedLater.some((pattern) => pattern.test(label))), []);
});

test('every method has the permission that the reference declares', () => {
  const differences: string[] = [];
  for (const listed of listedMethods()) {
    const ours = byLabel.get(labelOf(listed));
    if (ours === undefined) continue;
    const found = JSON.stringify(listedPermission(ours.permission));
    const wanted = JSON.stringify(listed.permission);
    if (found !== wanted) differences.push(`${labelOf(listed)}: ${found}, listed ${wanted}`);
  }
  assert.deepEqual(differences, []);
});

test('parameters are those of the reference: names, types, limits, choices, patterns', () => {
  const differences: string[] = [];
  const absent = new Set(covered.filter(({ coverage }) => coverage === 'absent').map(({ listed }) => labelOf(listed)));
  for (const listed of listedMethods()) {
    const label = labelOf(listed);
    const endpoint = byLabel.get(label);
    // What begins a session is not described in the list.
    if (endpoint === undefined || endpoint.kind === 'upgrade' || listed.parameters === undefined || absent.has(label)) continue;
    const ours = listedParameters(endpoint);
    for (const [name, theirs] of Object.entries(listed.parameters)) {
      // What is in the path is there, whatever the list says.
      const own = ours[name] !== undefined && listed.path.includes(`{${name}}`) && theirs.optional === true ? { ...ours[name], optional: true as const } : ours[name];
      const found = own === undefined ? [`${name}: not taken`] : parameterDifferences(name, own, theirs);
      differences.push(...found.map((one) => `${label} ${one}`));
    }
    // The list leaves out parameters called like a keyword of the schemas.
    const beyond = Object.entries(ours).filter(([name]) => !(name in listed.parameters!) && name !== 'description');
    differences.push(...beyond.filter(([name, { optional }]) => !ownParameters.has(name) || optional !== true).map(([name]) => `${label} ${name}: not listed`));
  }
  assert.deepEqual(differences, []);
});
