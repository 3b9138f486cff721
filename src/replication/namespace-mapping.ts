import { ConfigError } from '../base/errors.ts';
import { joinNamespace, maxNamespaceDepth, namespaceDepth } from '../format/backup-path.ts';
import type { ReplicationPolicy } from './policy.ts';

/** A namespace of the source and where it goes. */
export interface NamespacePair {
  from: string;
  to: string;
}

/** Source namespaces with the target namespace of each, parents first. ConfigError `config.namespace-depth` when they would be too deep. */
export function mapNamespaces(namespaces: readonly string[], policy: Pick<ReplicationPolicy, 'sourceNamespace' | 'targetNamespace'>): NamespacePair[] {
  const anchorDepth = namespaceDepth(policy.sourceNamespace);
  const deepest = Math.max(0, ...namespaces.map((namespace) => namespaceDepth(namespace))) - anchorDepth;
  if (namespaceDepth(policy.targetNamespace) + deepest > maxNamespaceDepth) {
    throw new ConfigError('config.namespace-depth', `namespaces below '${policy.sourceNamespace}' are ${deepest} levels deep: below '${policy.targetNamespace}' that is more than ${maxNamespaceDepth}`, {
      hint: 'set max-depth, or choose a target namespace nearer to the root',
    });
  }
  return namespaces
    .toSorted((a, b) => a.length - b.length || (a < b ? -1 : 1))
    .map((from) => ({ from, to: joinNamespace(policy.targetNamespace, relativeNamespace(from, policy.sourceNamespace)) }));
}

/** `a/b/c` below the anchor `a` is `b/c`. */
function relativeNamespace(namespace: string, anchor: string): string {
  if (anchor === '') return namespace;
  return namespace === anchor ? '' : namespace.slice(anchor.length + 1);
}
