/** Questions to the person at the terminal. */
export interface Prompter {
  /** False: standard input is no terminal, nobody can be asked. */
  readonly canAsk: boolean;
  /** An answer that is not shown. AbortedError after Ctrl-C or the end of the input. */
  secret(prompt: string): Promise<string>;
  /** A line as typed, without its end. AbortedError as above. */
  line(prompt: string): Promise<string>;
  /** A line of standard input, whatever that is, after a question that is already asked; empty at its end. AbortedError after Ctrl-C. */
  answer(): Promise<string>;
}
