import { AbortedError, toError } from '../base/errors.ts';
import type { TextSink } from './output.ts';
import type { Prompter } from './prompter.ts';

/** What is needed of a terminal's input, as `process.stdin` has it. */
export interface KeyboardInput {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
  setEncoding(encoding: BufferEncoding): unknown;
  on(event: 'data', listener: (text: string) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  off(event: 'data', listener: (text: string) => void): unknown;
  off(event: 'end', listener: () => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

const maxAnswerLength = 4096;

/** Asks at the terminal key by key, so that nothing of a secret is ever shown: an asterisk a character, none after Tab. */
export class TerminalPrompter implements Prompter {
  readonly #input: KeyboardInput;
  readonly #output: TextSink;
  /** Typed ahead of the next question. */
  #ahead = '';

  constructor(input: KeyboardInput, output: TextSink) {
    this.#input = input;
    this.#output = output;
  }

  get canAsk(): boolean {
    return this.#input.isTTY === true;
  }

  async secret(prompt: string): Promise<string> {
    return this.#ask(prompt, true);
  }

  async line(prompt: string): Promise<string> {
    return this.#ask(prompt, false);
  }

  async answer(): Promise<string> {
    return this.canAsk ? this.#ask('', false) : this.#readLine();
  }

  /** From a file or pipe: what somebody else has typed is not shown. */
  async #readLine(): Promise<string> {
    const input = this.#input;
    input.setEncoding('utf8');
    let text = '';
    let onData: (piece: string) => void = () => {};
    let onEnd: () => void = () => {};
    try {
      await new Promise<void>((resolve) => {
        onData = (piece) => {
          text += piece;
          if (text.includes('\n') || text.length > maxAnswerLength) resolve();
        };
        onEnd = resolve;
        input.on('data', onData);
        input.on('end', onEnd);
        input.resume();
      });
    } finally {
      input.off('data', onData);
      input.off('end', onEnd);
      input.pause();
    }
    return /^[^\r\n]*/.exec(text)![0].slice(0, maxAnswerLength);
  }

  async #ask(prompt: string, hidden: boolean): Promise<string> {
    const input = this.#input;
    this.#output.write(prompt);
    const answer = new Answer(this.#output, hidden);
    input.setEncoding('utf8');
    input.setRawMode?.(true);
    let onData: (text: string) => void = () => {};
    let onEnd: () => void = () => {};
    try {
      return await new Promise<string>((resolve, reject) => {
        const take = (text: string): void => {
          try {
            const rest = answer.take(text);
            if (rest === null) return;
            this.#ahead = rest;
            resolve(answer.text);
          } catch (e) {
            reject(toError(e));
          }
        };
        onData = take;
        onEnd = () => reject(new AbortedError('the input ended before an answer'));
        input.on('data', onData);
        input.on('end', onEnd);
        const ahead = this.#ahead;
        this.#ahead = '';
        take(ahead);
        input.resume();
      });
    } finally {
      input.off('data', onData);
      input.off('end', onEnd);
      input.setRawMode?.(false);
      input.pause();
      this.#output.write('\n');
    }
  }
}

/** The answer as far as it is typed. */
class Answer {
  readonly #output: TextSink;
  readonly #hidden: boolean;
  #echo = true;
  #characters: string[] = [];

  constructor(output: TextSink, hidden: boolean) {
    this.#output = output;
    this.#hidden = hidden;
  }

  get text(): string {
    return this.#characters.join('');
  }

  /** Null as long as the line goes on, otherwise what follows its end. */
  take(text: string): string | null {
    const characters = Array.from(text);
    for (const [at, character] of characters.entries()) {
      if (character === '\r' || character === '\n' || character === '\u0004') return characters.slice(at + 1).join('');
      this.#key(character);
    }
    return null;
  }

  #key(character: string): void {
    if (character === '\u0003') throw new AbortedError('interrupted at the terminal');
    if (character === '\u007f' || character === '\b') {
      if (this.#characters.pop() !== undefined && this.#echo) this.#output.write('\b \b');
    } else if (character === '\t' && this.#hidden) {
      this.#echo = false;
    } else if (character >= ' ' && this.#characters.length < maxAnswerLength) {
      this.#characters.push(character);
      if (this.#echo) this.#output.write(this.#hidden ? '*' : character);
    }
  }
}
