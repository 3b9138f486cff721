import assert from 'node:assert/strict';
import { assertParameterSchema } from '../protocol/parameters.ts';
import type { Endpoint, Method, Permission } from './endpoint.ts';

interface Node {
  literals: Map<string, Node>;
  variable: { name: string; node: Node } | null;
  endpoints: Map<Method, Endpoint>;
}

/** A place in the tree and what its variables stand for. */
export interface Place {
  uriParameters: Readonly<Record<string, string>>;
  /** Undefined: no such method here. */
  endpoint(method: string): Endpoint | undefined;
  /** Names of the folders below, sorted; empty for an end of the tree. */
  subdirs(): string[];
}

/** The endpoints by path. Literal components win over variables; there is no going back from a literal. */
export class PathTree {
  readonly #root = newNode();

  /** Assertions fail for double paths, and for schemas that the parameter check cannot handle. */
  constructor(endpoints: readonly Endpoint[]) {
    for (const endpoint of endpoints) this.#add(endpoint);
  }

  /** Null when nothing lies at `components` (decoded). */
  find(components: readonly string[]): Place | null {
    let node = this.#root;
    const uriParameters: Record<string, string> = {};
    for (const component of components) {
      const literal = node.literals.get(component);
      if (literal !== undefined) {
        node = literal;
      } else if (node.variable !== null) {
        uriParameters[node.variable.name] = component;
        node = node.variable.node;
      } else {
        return null;
      }
    }
    const { endpoints, literals } = node;
    return { uriParameters, endpoint: (method) => endpoints.get(method as Method), subdirs: () => [...literals.keys()].sort() };
  }

  #add(endpoint: Endpoint): void {
    const label = `${endpoint.method} ${endpoint.path}`;
    assert.match(endpoint.path, /^(?:\/(?:[A-Za-z0-9_-]+|\{[a-z0-9-]+\}))+$/, label);
    assertParameterSchema(endpoint.parameters);
    for (const name of permissionVariables(endpoint.permission)) assert.ok(endpoint.path.includes(`{${name}}`), `${label}: the permission's {${name}} is not in the path`);
    let node = this.#root;
    for (const component of endpoint.path.slice(1).split('/')) {
      const name = /^\{(.+)\}$/.exec(component)?.[1];
      if (name === undefined) {
        const next = node.literals.get(component) ?? newNode();
        node.literals.set(component, next);
        node = next;
      } else {
        assert.ok(name in endpoint.parameters.properties, `${label}: {${name}} is not among the parameters`);
        node.variable ??= { name, node: newNode() };
        assert.equal(node.variable.name, name, `${label}: another endpoint has {${node.variable.name}} here`);
        node = node.variable.node;
      }
    }
    assert.ok(!node.endpoints.has(endpoint.method), `${label} is registered twice`);
    node.endpoints.set(endpoint.method, endpoint);
  }
}

function newNode(): Node {
  return { literals: new Map(), variable: null, endpoints: new Map() };
}

/** Variables in the ACL paths of a permission. Only the path can fill them: permissions are checked before parameters. */
function permissionVariables(permission: Permission): string[] {
  switch (permission.kind) {
    case 'or':
    case 'and':
      return permission.of.flatMap(permissionVariables);
    case 'privilege':
      return [...permission.path.matchAll(/\{([a-z0-9-]+)\}/g)].map((match) => match[1]!);
    case 'self':
      return ['userid'];
    case 'public':
    case 'any':
    case 'root':
      return [];
    default:
      return permission satisfies never;
  }
}
