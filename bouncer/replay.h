#ifndef BOUNCER_REPLAY_H
#define BOUNCER_REPLAY_H

/* "waybill-bouncer --replay FILE… [--json]": reads logs, plain or gzip, "-" for standard input, as if they were live,
 * without a database. With --json each event is printed as the webhooks' native format has it, one a line; a summary goes
 * to standard error. --unparsed prints lines of Postfix that are not understood instead. ARGV are the words behind
 * --replay. Returns an exit status of sysexits.h. */
int replay_main(int argc, char **argv);

#endif
