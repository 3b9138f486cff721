import { Type } from 'typebox';
import { errorChain, errorCode, FarshoreError, HttpError } from '../../../base/errors.ts';
import { flag } from '../../../config/schemas.ts';
import { readGroupNotes, setGroupNotes } from '../../../datastore/groups.ts';
import { isProtected, readSnapshotNotes, setProtected, setSnapshotNotes } from '../../../datastore/snapshots.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import { contentPath, groupOf, groupParameters, inGroup, manifestNotLoaded, snapshotOf, snapshotParameters, type ContentParts } from './content.ts';

const reading = { full: ['Datastore.Audit'], own: ['Datastore.Backup'] } as const;
const writing = { full: ['Datastore.Modify'], own: ['Datastore.Backup'] } as const;
const notes = Type.String({ description: 'A multiline text.' });

/** Notes of snapshots and groups, protection of snapshots (spec rest-api 10.2, retention 10). */
export function noteEndpoints(parts: ContentParts): Endpoint[] {
  return [...snapshotNoteEndpoints(parts), ...groupNoteEndpoints(parts), ...protectionEndpoints(parts)];
}

function snapshotNoteEndpoints(parts: ContentParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/notes`,
      description: 'Get "notes" for a specific backup',
      parameters: parameterObject(snapshotParameters),
      permission: { kind: 'any' },
      handler: (p, caller) =>
        inGroup(parts, caller, p, reading, 'read', async (store, namespace) => {
          try {
            return await readSnapshotNotes(store, namespace, snapshotOf(p));
          } catch (e) {
            throw manifestNotLoaded(e);
          }
        }),
    }),
    jsonEndpoint({
      method: 'PUT',
      path: `${contentPath}/notes`,
      description: 'Set "notes" for a specific backup',
      parameters: parameterObject({ ...snapshotParameters, notes }),
      permission: { kind: 'any' },
      handler: (p, caller) =>
        inGroup(parts, caller, p, writing, 'write', async (store, namespace) => {
          try {
            await setSnapshotNotes(store, namespace, snapshotOf(p), p.notes);
          } catch (e) {
            if (!(e instanceof FarshoreError)) throw e;
            const missing = manifestNotLoaded(e.cause, 'unable to update manifest blob - ');
            throw missing instanceof HttpError ? missing : new HttpError(400, `unable to update manifest blob - ${errorChain(e.cause ?? e)}`, { cause: e });
          }
          return null;
        }),
    }),
  ];
}

function groupNoteEndpoints(parts: ContentParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/group-notes`,
      description: 'Get "notes" for a backup group',
      parameters: parameterObject(groupParameters),
      permission: { kind: 'any' },
      handler: (p, caller) => inGroup(parts, caller, p, reading, 'read', (store, namespace) => readGroupNotes(store, namespace, groupOf(p))),
    }),
    jsonEndpoint({
      method: 'PUT',
      path: `${contentPath}/group-notes`,
      description: 'Set "notes" for a backup group',
      parameters: parameterObject({ ...groupParameters, notes }),
      permission: { kind: 'any' },
      handler: (p, caller) =>
        inGroup(parts, caller, p, writing, 'write', async (store, namespace) => {
          try {
            await setGroupNotes(store, namespace, groupOf(p), p.notes);
          } catch (e) {
            if (!(e instanceof FarshoreError)) throw e;
            const locked = errorCode(e) === 'store.locked' ? 'failed to lock backup group: ' : '';
            throw new HttpError(400, `failed to set group notes - ${locked}${errorChain(e)}`, { cause: e, ...(e.hint === undefined ? {} : { hint: e.hint }) });
          }
          return null;
        }),
    }),
  ];
}

function protectionEndpoints(parts: ContentParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/protected`,
      description: 'Query protection for a specific backup',
      parameters: parameterObject(snapshotParameters),
      permission: { kind: 'any' },
      handler: (p, caller) => inGroup(parts, caller, p, reading, 'read', (store, namespace) => isProtected(store, namespace, snapshotOf(p))),
    }),
    jsonEndpoint({
      method: 'PUT',
      path: `${contentPath}/protected`,
      description: 'En- or disable protection for a specific backup',
      parameters: parameterObject({ ...snapshotParameters, protected: flag('Enable/disable protection.') }),
      permission: { kind: 'any' },
      handler: (p, caller) =>
        inGroup(parts, caller, p, writing, 'write', async (store, namespace) => {
          await setProtected(store, namespace, snapshotOf(p), p.protected);
          return null;
        }),
    }),
  ];
}
