import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import { escapeHtml, renderTemplate } from './template.ts';
import { messageHelpers, webhookHelpers } from './template-helpers.ts';

const data = { title: 'Subj ü <b>"q"', severity: 'info', fields: { type: 'gc', 'job-id': 'j1' }, secrets: { pw: 'secret' }, list: ['a', 'b'], none: [], zero: 0, rows: [{ n: 1 }, { n: 2 }] };
const hook = (source: string): string => renderTemplate(source, data, { helpers: webhookHelpers });

suite('what a template becomes', () => {
  // The first ones are what the reference's webhooks send.
  const cases: Array<[source: string, text: string]> = [
    ['{{title}}|{{{title}}}', 'Subj ü <b>"q"|Subj ü <b>"q"'],
    ['{{ escape title }}', 'Subj ü <b>\\"q\\"'],
    ['{{ json title }} {{json fields}}', '"Subj ü <b>\\"q\\"" {"type":"gc","job-id":"j1"}'],
    ['{{ nope }}{{fields.nope}}{{fields.type.nope}}', ''],
    ['{{#if fields.nope}}"i":1{{else}}"e":1{{/if}}, {{#unless nope}}"u":1{{/unless}}', '"e":1, "u":1'],
    ['{{! c }} {{~title~}} z', 'Subj ü <b>"q"z'],
    ['{{#if (eq severity "info")}}Y{{/if}} {{json secrets}}', 'Y {"pw":"secret"}'],
    ['{{url-encode "a b/&?ü~-_.!*"}}', 'a%20b%2F%26%3F%C3%BC~-_.%21%2A'],
    ['{{json "a\\"b"}} {{escape "a\\"b"}}', '"a\\"b" a\\"b'],
    ['{{lookup fields "type"}} {{fields.job-id}} {{fields/type}}', 'gc j1 gc'],
    ['{{#with fields}}{{type}}{{/with}}', 'gc'],
    ['{{#each fields}}{{@key}}={{this}};{{/each}}', 'type=gc;job-id=j1;'],
    ['{{#each list}}{{@index}}{{this}}{{#unless @last}},{{/unless}}{{/each}}', '0a,1b'],
    ['{{#each rows}}{{n}}{{../severity}}{{@root.zero}} {{/each}}', '1info0 2info0 '],
    ['{{#each none}}x{{else}}nothing{{/each}}', 'nothing'],
    ['{{#if zero}}a{{else if fields}}b{{else}}c{{/if}}{{#if none}}d{{/if}}', 'b'],
    ['a\n{{#if title}}\nb\n{{/if}}\nc', 'a\nb\nc'],
    ['{{#each list}}\n  {{this}}\n{{/each}}\nend', '  a\n  b\nend'],
    ['x {{#if title}} y {{/if}} z', 'x  y  z'],
    ['{{!-- a }} b --}}c', 'c'],
    ['{{toString}}{{constructor}}{{fields.__proto__}}{{lookup fields "constructor"}}', ''],
    ['plain } text { {', 'plain } text { {'],
  ];
  for (const [source, text] of cases) test(source.replaceAll('\n', '\\n'), () => assert.equal(hook(source), text));

  test('html is escaped unless it is marked as raw', () => {
    const html = (source: string): string => renderTemplate(source, { x: '<a href="x">&' }, { helpers: {}, escape: escapeHtml });
    assert.equal(html('<b>{{x}}</b>{{{x}}}{{&x}}'), '<b>&lt;a href=&quot;x&quot;&gt;&amp;</b><a href="x">&<a href="x">&');
  });

  test('helpers of messages print as the reference does', () => {
    const message = (source: string): string => renderTemplate(source, {}, { helpers: messageHelpers });
    assert.equal(message('{{human-bytes 123456}} {{duration 3700}}'), '120.563 KiB 1h 1m 40s');
    assert.equal(message('{{relative-percentage 1 3}} {{relative-percentage 1 0}}'), '33.33% 0.00%');
    assert.match(message('{{timestamp 1700000000}}'), /^2023-11-1[45] \d\d:\d\d:20$/);
  });
});

suite('what is no template', () => {
  for (const source of ['{{ #bad', '{{ nohelper title }}', '{{#if a}}x', '{{#if a}}x{{/each}}', 'x{{/if}}', '{{else}}', '{{#loop a}}x{{/loop}}', '{{> partial}}', '{{a b}}', '{{(eq 1}}', '{{"open}}', '{{}}', '{{#if a}}'.repeat(40)]) {
    test(source.slice(0, 40), () => assert.throws(() => hook(source), FormatError));
  }

  test('text, steps and nesting are bounded', () => {
    const many = { a: Array.from({ length: 1000 }, () => 'x'.repeat(10)) };
    const render = (source: string): string => renderTemplate(source, many, { helpers: {} });
    assert.throws(() => render('{{#each a}}{{#each @root.a}}{{this}}{{/each}}{{/each}}'), /template: (?:takes too long|makes more than)/);
    assert.throws(() => render('{{#each a}}{{#each @root.a}}{{#each @root.a}}{{/each}}{{/each}}{{/each}}'), FormatError);
    assert.throws(() => render('x'.repeat(300_000)), FormatError);
  });

  test('any text is a template or refused with FormatError', () => {
    const piece = fc.constantFrom('{{', '}}', '{{{', '}}}', '#if', '#each', '/if', 'else', ' ', 'title', '"', '(', ')', '~', '!', '--', '.', '../', '@key', '\n', 'x', '[', ']', '&');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        try {
          assert.equal(typeof hook(pieces.join('')), 'string');
        } catch (e) {
          assert.ok(e instanceof FormatError, String(e));
        }
      }),
      { numRuns: 2000 },
    );
  });
});
