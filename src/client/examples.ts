/** Examples of `--help` and of the manual page, by the command's words: what is typed after the program's name. */

export const clientExamples: Readonly<Record<string, readonly string[]>> = {
  backup: ['backup root.pxar:/ --repository backup@pbs@server.example.org:main', 'backup home.pxar:/home etc.pxar:/etc --change-detection-mode metadata --keyfile backup.key'],
  'catalog shell': ['catalog shell host/web/2026-11-24T01:00:00Z root.pxar'],
  'key create': ['key create backup.key', 'key create backup.key --kdf none'],
  mount: ['mount host/web/2026-11-24T01:00:00Z root.pxar /mnt'],
  restore: ['restore host/web/2026-11-24T01:00:00Z root.pxar /tmp/restored', "restore host/web root.pxar /tmp/restored --pattern 'etc/**'"],
  prune: ['prune host/web --keep-daily 7 --keep-weekly 4 --dry-run'],
  'snapshot list': ['snapshot list', 'snapshot list host/web --output-format json'],
  'snapshot forget': ['snapshot forget host/web/2026-11-24T01:00:00Z'],
};
