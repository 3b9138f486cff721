import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../base/errors.ts';
import { formatListenAddress, parseListenAddress } from './listen-address.ts';

test('addresses to listen on', () => {
  const table: Array<[text: string, host: string, port: number]> = [
    ['[::]:8007', '::', 8007],
    ['[::1]:0', '::1', 0],
    ['10.0.0.5:443', '10.0.0.5', 443],
    ['vault.lan:65535', 'vault.lan', 65_535],
    [':8007', '::', 8007],
    ['*:8007', '::', 8007],
    ['8007', '::', 8007],
  ];
  for (const [text, host, port] of table) assert.deepEqual(parseListenAddress(text), { host, port }, text);
  for (const [text] of table.slice(0, 4)) assert.equal(formatListenAddress(parseListenAddress(text)), text);
});

test('anything else is refused with an example', () => {
  for (const text of ['', ':', 'host', 'host:', 'host:x', 'host:65536', '::1:80', '[::1]', '[10.0.0.1]:80', '[:::]:1', 'a b:80', 'http://x:80', '1:2:3', '-1']) {
    assert.throws(() => parseListenAddress(text), (e) => e instanceof ConfigError && e.code === 'config.listen' && /for example/.test(e.hint ?? ''), text);
  }
});
