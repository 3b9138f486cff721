export async function runDemo(_io: unknown): Promise<number> { return Promise.resolve(1); }
