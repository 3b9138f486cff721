import { createInterface } from 'node:readline/promises';
import type { Readable, Writable } from 'node:stream';

/** Candidates for the end of a line: `replaced` is the end that each of them would take the place of. */
export interface LineCandidates {
  candidates: string[];
  replaced: string;
}

export interface LineReading {
  /** Asked before every line. */
  prompt(): string;
  /** Ends the input. */
  signal: AbortSignal;
  complete(line: string): Promise<LineCandidates>;
  /** Ctrl-C at the terminal: true when that was for something that is under way, otherwise the line is begun anew. */
  interrupt(): boolean;
}

/** Lines that somebody types, or that come from a pipe. */
export interface LineInput {
  /** Lines as bytes, without their ends, until the input ends. The next one is asked for when the caller is done with the last. */
  lines(reading: LineReading): AsyncIterable<Buffer>;
}

const newline = 0x0a;
/** Far above any command. */
const maxLineLength = 64 * 1024;
const historyLength = 1000;

/** Lines at a terminal, with history and completion; from anything else as they come, without prompts. */
export class StreamLineInput implements LineInput {
  readonly #input: Readable & { isTTY?: boolean };
  readonly #output: Writable;

  constructor(input: Readable & { isTTY?: boolean }, output: Writable) {
    this.#input = input;
    this.#output = output;
  }

  lines(reading: LineReading): AsyncIterable<Buffer> {
    return this.#input.isTTY === true ? this.#typed(reading) : this.#piped(reading);
  }

  async *#piped({ signal }: LineReading): AsyncGenerator<Buffer, void, undefined> {
    const stop = (): void => void this.#input.destroy();
    signal.addEventListener('abort', stop, { once: true });
    try {
      yield* this.#split();
    } catch (e) {
      if (!signal.aborted) throw e;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async *#split(): AsyncGenerator<Buffer, void, undefined> {
    let rest = Buffer.alloc(0);
    for await (const piece of this.#input) {
      rest = Buffer.concat([rest, Buffer.from(piece as Uint8Array | string)]);
      for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
        yield rest.subarray(0, end);
        rest = rest.subarray(end + 1);
      }
      if (rest.length > maxLineLength) throw new RangeError(`a line of more than ${maxLineLength} bytes`);
    }
    if (rest.length > 0) yield rest;
  }

  async *#typed(reading: LineReading): AsyncGenerator<Buffer, void, undefined> {
    const editor = createInterface({
      input: this.#input,
      output: this.#output,
      terminal: true,
      historySize: historyLength,
      removeHistoryDuplicates: true,
      completer: async (line: string): Promise<[string[], string]> => {
        try {
          const { candidates, replaced } = await reading.complete(line);
          return [candidates, replaced];
        } catch {
          // A person in the middle of a line cannot do anything about it.
          return [[], line];
        }
      },
    });
    const typed: string[] = [];
    let isClosed = false;
    let wake: () => void = () => {};
    editor.on('line', (line) => {
      typed.push(line);
      wake();
    });
    editor.on('close', () => {
      isClosed = true;
      wake();
    });
    editor.on('SIGINT', () => {
      if (reading.interrupt()) return;
      this.#output.write('^C\n');
      editor.write(null, { ctrl: true, name: 'e' });
      editor.write(null, { ctrl: true, name: 'u' });
      editor.prompt();
    });
    const stop = (): void => editor.close();
    reading.signal.addEventListener('abort', stop, { once: true });
    try {
      for (;;) {
        if (typed.length === 0 && !isClosed) {
          editor.setPrompt(reading.prompt());
          editor.prompt();
          await new Promise<void>((resolve) => (wake = resolve));
        }
        const line = typed.shift();
        if (line !== undefined) yield Buffer.from(line);
        else if (isClosed) return;
      }
    } finally {
      reading.signal.removeEventListener('abort', stop);
      editor.close();
    }
  }
}
