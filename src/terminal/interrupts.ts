/** Ctrl-C as a subscription: `listen` returns the function that ends it. */
export interface InterruptSource {
  listen(handler: () => void): () => void;
}
