import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Accounts } from '../access/accounts.ts';
import type { Clock } from '../base/clock.ts';
import type { ProgressLog } from '../base/log.ts';
import type { DatastoreTable } from '../config/datastore-config.ts';
import type { InstallationPaths } from '../config/home.ts';
import type { NodeFile } from '../config/node-config.ts';
import { notificationFiles } from '../config/notification-config.ts';
import { NotificationEntities } from '../notify/entities.ts';
import { DatastoreNotices, type JobNotices } from '../notify/job-notices.ts';
import { MessageTexts } from '../notify/message.ts';
import { Notifier } from '../notify/notifier.ts';
import { TargetDelivery } from '../notify/target-delivery.ts';

export interface NotificationParts {
  installation: InstallationPaths;
  accounts: Pick<Accounts, 'findUser'>;
  node: NodeFile;
  datastores: DatastoreTable;
  /** Short name of this host. */
  hostName: string;
  programVersion: string;
  log: ProgressLog;
  clock: Clock;
}

/** Who is told what, and how. */
export interface Notifications {
  entities: NotificationEntities;
  notifier: Notifier;
  notices: JobNotices;
  hostname: string;
}

/** The notifications of one installation, at work: the timer for held messages does not keep the process alive. */
export function composeNotifications({ installation, accounts, node, datastores, hostName, programVersion, log, clock }: NotificationParts): Notifications {
  const entities = new NotificationEntities(notificationFiles(installation));
  const fqdn = hostname();
  const notifier = new Notifier({
    entities,
    texts: new MessageTexts({ folder: join(installation.config, 'notification-templates', 'default'), host: { hostname: hostName, fqdn, baseUrl: `https://${fqdn}:8007` }, log }),
    delivery: new TargetDelivery({ entities, mailOf: (userId) => accounts.findUser(userId)?.email, node, hostname: hostName, userAgent: `farshore/${programVersion}`, log }),
    hostname: hostName,
    clock,
    log,
  });
  notifier.start();
  return { entities, notifier, notices: new DatastoreNotices({ datastores, notifier, clock, log }), hostname: hostName };
}
