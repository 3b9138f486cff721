/** For commands that go on in the background once they work, as `mount` does. */
export interface Background {
  /** True in the process that goes on. */
  readonly isBackground: boolean;
  /**
   * Starts the same command as a process of its own. Fulfilled with 0 as soon as that one has let go of the terminal, otherwise with its exit code; what it
   * writes until then is written here.
   */
  start(): Promise<number>;
  /** In the process that goes on: it works. The terminal, the working directory and who waits are let go; what is written goes to the end of the file `logPath`. */
  letGo(logPath: string): Promise<void>;
}
