#ifndef MILTER_METER_H
#define MILTER_METER_H

/* Which limits one message is charged to, and with how much: the request for one call of counters_charge(). A core:
 * no I/O, time is an argument. */

#include "common/counters.h"
#include "common/directory_record.h"

#include "milter/session.h"

/* What stands for the milter's own question in a receipt, the time behind it so that a queue id used again is not taken
 * for a repetition; policyd's are Postfix's instance numbers. */
#define METER_INSTANCE      "milter."
#define METER_INSTANCE_SIZE 32

struct meter {
	const struct session *session;
	const struct directory_login *login;
	const struct directory_customer *customer;
	const struct directory_domain *domain; /* NULL: the From domain is not the customer's */
	const struct directory_relay *relay;
	int64_t now_s;
	struct text network; /* meter_network(); empty: where the client is, is not known */
};

/* Whom limits of scope network count, as policyd names it: "LOGIN/NETWORK", the client's /24 or /48. False when CLIENT
 * is no address. */
#define METER_NETWORK_SIZE 512
bool meter_network(struct text login, struct text client, char out[METER_NETWORK_SIZE]);

/* Fills REQUEST, but for node and queue id, with the limits of scope customer, destination, domain and relay, and
 * settles those of the login and of its network that count bytes: policyd charged the size that the client claimed. Views of the records,
 * of the session and of INSTANCE go into it. False when there are more than COUNTERS_MAX_ITEMS: the message has too many destinations. */
bool meter_request(const struct meter *meter, char instance[METER_INSTANCE_SIZE], struct counters_request *request);
/* The item whose remainder is smallest after this charge, for the log; SIZE_MAX when there is none. */
size_t meter_tightest(const struct counters_request *request, const struct counters_result *result);
/* Does the charge exceed what the limit ever allows? Not where it is 0: that is a pause made by hand, not a size. */
bool meter_is_never(const struct counters_item *item);
/* When to come again, in seconds; METER_PAUSE_S where no time is known, as with a limit of 0. */
#define METER_PAUSE_S 3600
int64_t meter_retry_s(const struct limit_usage *usage);
/* "ID SPEC", as replies name a limit; OUT has METER_LIMIT_TEXT bytes. */
#define METER_LIMIT_TEXT (LIMIT_ID_MAX + 1 + LIMIT_SPEC_TEXT_MAX)
void meter_limit_print(const struct limit *limit, char *out);

#endif
