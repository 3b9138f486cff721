import { Type } from 'typebox';
import { oneOf } from '../config/schemas.ts';
import type { CommandShape, Parameters } from './command.ts';
import type { TextSink } from './output.ts';

/** What a shell reads to complete the lines of `program`, which it asks for candidates by `program bashcomplete` (spec manager-cli 5). */

export const shells = ['bash', 'zsh'] as const;
export type Shell = (typeof shells)[number];

function functionName(program: string): string {
  return `_${program.replace(/[^A-Za-z0-9]/g, '_')}`;
}

function bashScript(program: string): string {
  const name = functionName(program);
  // Bash replaces only what follows the last ':' or '=' of a word: what stands before is taken off the candidates.
  return `# bash completion of ${program}: source <(${program} completion bash)
${name}() {
    local typed before
    mapfile -t COMPREPLY < <(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" ${program} bashcomplete 2>/dev/null)
    typed="\${COMP_LINE:0:COMP_POINT}"
    typed="\${typed##*[[:space:]]}"
    before="\${typed%"\${typed##*[:=]}"}"
    if [[ "$typed" == *[:=]* && "$COMP_WORDBREAKS" == *:* ]]; then
        COMPREPLY=("\${COMPREPLY[@]#"$before"}")
    fi
}
complete -F ${name} ${program}
`;
}

function zshScript(program: string): string {
  const name = functionName(program);
  return `#compdef ${program}
# zsh completion of ${program}: source <(${program} completion zsh), or as ${name} in a folder of $fpath
${name}() {
    local line="\${(j: :)words[1,CURRENT-1]} $PREFIX"
    local -a candidates
    candidates=("\${(@f)$(COMP_LINE="$line" COMP_POINT="\${#line}" ${program} bashcomplete 2>/dev/null)}")
    candidates=(\${candidates:#})
    compadd -- "\${candidates[@]}"
}
if [[ "\${funcstack[1]}" == "${name}" ]]; then
    ${name} "$@"
else
    compdef ${name} ${program}
fi
`;
}

export function completionScript(shell: Shell, program: string): string {
  return shell === 'bash' ? bashScript(program) : zshScript(program);
}

/** A command that every program can have. */
export interface CompletionCommand extends CommandShape {
  run(context: { stdout: TextSink }, parameters: Parameters): Promise<void>;
}

/** `completion bash|zsh` of `program`, the name that people type. */
export function completionCommand(program: string): CompletionCommand {
  return {
    words: ['completion'],
    description: `Print what a shell needs to complete command lines. For this shell: source <(${program} completion bash). To stay: write it into a file of the folder that the shell reads completions from.`,
    parameters: Type.Object({ shell: oneOf([...shells], 'The shell.') }),
    positional: ['shell'],
    run: async (context, parameters) => {
      context.stdout.write(completionScript(parameters['shell'] as Shell, program));
    },
  };
}
