import { Type } from 'typebox';
import type { Command } from './command.ts';
import type { ServerEnvironment } from './server-command.ts';

/** `farshore demo`: the main job from two servers to a verified restore, in a folder of its own. */
export function demoCommand(_environment: ServerEnvironment): Command {
  return {
    words: ['demo'],
    description: 'Show the main job: two servers, an offsite copy, verify, restore. Uses a temporary folder and free ports of this host only.',
    parameters: Type.Object({
      keep: Type.Optional(Type.Boolean({ description: 'Keep the folder with both installations afterwards.', default: false })),
    }),
    positional: [],
    run: async (context, parameters) => {
      const { runDemo } = await import('./demo/run.ts');
      return runDemo({ stdout: context.stdout, stderr: context.stderr, drawsProgress: context.drawsProgress, keep: parameters['keep'] === true });
    },
  };
}
