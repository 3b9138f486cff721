import { Type, type Static } from 'typebox';
import { ConfigFile, type Codec } from './config-file.ts';
import { secretPlace, sectionCodec, sharedPlace, type SectionFile } from './files.ts';
import type { InstallationPaths } from './home.ts';
import { comment, flag, lineOfText, oneOf, propertyString, safeId, tcpPort } from './schemas.ts';
import { sectionType, type SectionConfig } from './section-config.ts';

/** notifications.cfg and notifications-priv.cfg (spec server 14.1). */

const { Optional } = Type;

export const notificationName = safeId('Name of a notification target or matcher.', 2, 32);
/** Limits where the reference has none. */
const maxText = 4096;
const maxItems = 256;

const text = (description: string) => lineOfText(description, { maxLength: maxText });
const texts = (description: string) => Type.Array(text(description), { maxItems, description });

const common = { comment: Optional(comment), disable: Optional(flag('Do not use it.')) };
const recipients = {
  mailto: Optional(Type.Array(lineOfText('Mail address.', { minLength: 2, maxLength: 64 }), { maxItems, description: 'Mail addresses to send to.' })),
  'mailto-user': Optional(Type.Array(lineOfText('User.', { minLength: 2, maxLength: 64 }), { maxItems, description: 'Users whose mail addresses, in user.cfg, to send to.' })),
  author: Optional(text('Name of the sender.')),
};

export const gotifySchema = Type.Object({ name: notificationName, server: text('URL of the Gotify server.'), ...common });

export const sendmailSchema = Type.Object({
  name: notificationName,
  'from-address': Optional(text("Mail address of the sender; by default email-from of node.cfg, else root.")),
  ...recipients,
  ...common,
});

export const smtpModes = ['insecure', 'starttls', 'tls'] as const;
export const smtpSchema = Type.Object({
  name: notificationName,
  'from-address': text('Mail address of the sender.'),
  mode: Optional(oneOf([...smtpModes], 'How the connection is secured.', { default: 'tls' })),
  port: Optional(tcpPort),
  server: text('DNS name or IP address of the mail server.'),
  username: Optional(text('User name at the mail server.')),
  ...recipients,
  ...common,
});

/** A name and a value in base64; a value of a secret may be left out where it is known. */
export const namedValue = Type.Object({ name: Type.String({ description: 'Name.' }), value: Optional(Type.String({ description: 'Value, base64.' })) });

const label = '(?:[a-zA-Z0-9](?:[a-zA-Z0-9\\-]*[a-zA-Z0-9])?)';
const webhookUrl = Type.String({
  pattern: `^https?://(?:(?:${label}\\.)*${label}|\\[[0-9a-fA-F:.]+\\])(?::[0-9]{1,5})?(?:/[^\\x00-\\x1f\\x7f]*)?$`,
  maxLength: maxText,
  description: 'URL; it is a template.',
});
const maxBody = 64 * 1024;

export const webhookSchema = Type.Object({
  name: notificationName,
  body: Optional(lineOfText('Body of the request, base64 of a template.', { maxLength: maxBody })),
  header: Optional(Type.Array(propertyString(namedValue, { description: 'Header: name, and value as base64 of a template.' }), { maxItems, description: 'Headers of the request.' })),
  method: oneOf(['post', 'put', 'get'], 'HTTP method.', { default: 'post' }),
  url: webhookUrl,
  ...common,
});

export const matcherSchema = Type.Object({
  name: notificationName,
  'invert-match': Optional(flag('Match what the rules do not match.')),
  'match-calendar': Optional(texts('Time frame, e.g. mon..fri 8-17.')),
  'match-field': Optional(texts('exact:FIELD=VALUE,... or regex:FIELD=REGEX.')),
  'match-severity': Optional(texts('Severities: info, notice, warning, error, unknown.')),
  mode: Optional(oneOf(['all', 'any'], 'Whether all or any of the rules must match.', { default: 'all' })),
  target: Optional(Type.Array(notificationName, { maxItems, description: 'Targets to notify.' })),
  ...common,
});

export const gotifyType = sectionType('gotify', 'name', gotifySchema);
export const sendmailType = sectionType('sendmail', 'name', sendmailSchema);
export const smtpType = sectionType('smtp', 'name', smtpSchema);
export const webhookType = sectionType('webhook', 'name', webhookSchema);
export const matcherType = sectionType('matcher', 'name', matcherSchema);

export type GotifyRecord = Static<typeof gotifySchema>;
export type SendmailRecord = Static<typeof sendmailSchema>;
export type SmtpRecord = Static<typeof smtpSchema>;
export type WebhookRecord = Static<typeof webhookSchema>;
export type MatcherRecord = Static<typeof matcherSchema>;

/** Kinds of targets, in the order in which the API lists them. */
export const endpointTypes = { gotify: gotifyType, sendmail: sendmailType, smtp: smtpType, webhook: webhookType } as const;
export type EndpointKind = keyof typeof endpointTypes;
export const endpointKinds = Object.keys(endpointTypes) as EndpointKind[];

// --- secrets -------------------------------------------------------------------

export const gotifySecretType = sectionType('gotify', 'name', Type.Object({ name: notificationName, token: Optional(text('Token.')) }));
export const smtpSecretType = sectionType('smtp', 'name', Type.Object({ name: notificationName, password: Optional(text('Password.')) }));
export const webhookSecretType = sectionType(
  'webhook',
  'name',
  Type.Object({ name: notificationName, secret: Optional(Type.Array(lineOfText('Name, and value as base64.', { maxLength: maxBody }), { maxItems, description: 'Secrets of templates.' })) }),
);

// --- built-in entities -----------------------------------------------------------

export const builtinMatcher: MatcherRecord = {
  name: 'default-matcher',
  comment: 'Route everything but successful prune job notifications to mail-to-root',
  'invert-match': true,
  'match-field': ['exact:type=prune'],
  'match-severity': ['info'],
  mode: 'all',
  target: ['mail-to-root'],
};
export const builtinTarget: SendmailRecord = { name: 'mail-to-root', comment: "Send mails to root@pam's email address", 'mailto-user': ['root@pam'] };

/** The section codec with the built-in entities always there: added in memory where they are missing, and so written with the next change. */
const notificationCodec: Codec<SectionConfig> = (() => {
  const sections = sectionCodec([matcherType, ...Object.values(endpointTypes)]);
  return {
    ...sections,
    parse: (content, fileName) => {
      const config = sections.parse(content, fileName);
      if (!config.has(builtinMatcher.name)) config.set(matcherType, builtinMatcher);
      if (!config.has(builtinTarget.name)) config.set(sendmailType, builtinTarget);
      return config;
    },
  };
})();

/** The two files; both are changed under the lock of the first. */
export interface NotificationFiles {
  config: SectionFile;
  secrets: SectionFile;
}

export function notificationFiles(paths: InstallationPaths): NotificationFiles {
  return {
    config: new ConfigFile(sharedPlace(paths, 'notifications.cfg'), notificationCodec),
    secrets: new ConfigFile(secretPlace(paths, 'notifications-priv.cfg'), sectionCodec([gotifySecretType, smtpSecretType, webhookSecretType])),
  };
}
