#ifndef COMMON_DIRECTORY_RECORD_H
#define COMMON_DIRECTORY_RECORD_H

/* The records of the directory snapshot, and how they stand in the file. A core: bytes in, values out, and back.
 *
 * Lists are not unpacked: a struct directory_list is a view that the *_next() functions walk, so that a login with
 * 10,000 allowed addresses costs nothing until it is asked. */

#include "common/limit.h"
#include "common/network.h"
#include "common/rights.h"
#include "common/takeover.h"
#include "common/text.h"

/* A change of any record's layout raises it; a reader refuses another one. */
#define DIRECTORY_FORMAT 1

struct directory_list {
	struct text bytes;
};

enum directory_header_from { DIRECTORY_FROM_OFF, DIRECTORY_FROM_LOG, DIRECTORY_FROM_ENFORCE, DIRECTORY_FROM_MAX };
enum directory_status { DIRECTORY_ACTIVE, DIRECTORY_SUSPENDED, DIRECTORY_STATUS_MAX };
enum directory_key_state { DIRECTORY_KEY_PENDING, DIRECTORY_KEY_ACTIVE, DIRECTORY_KEY_RETIRING, DIRECTORY_KEY_MAX };
enum directory_key_algorithm { DIRECTORY_RSA_SHA256, DIRECTORY_ED25519_SHA256, DIRECTORY_ALGORITHM_MAX };
/* How many signatures a domain's mail bears: those of all its keys' algorithms, RSA alone, none. */
enum directory_signatures { DIRECTORY_SIGN_TWO, DIRECTORY_SIGN_ONE, DIRECTORY_SIGN_NONE, DIRECTORY_SIGN_MAX };
enum directory_header_profile { DIRECTORY_PROFILE_STRICT, DIRECTORY_PROFILE_LIST_FRIENDLY, DIRECTORY_PROFILE_MAX };

struct directory_login {
	struct text name, customer;
	bool enabled;
	int64_t created_at, expires_at;     /* seconds since 1970; 0: never */
	struct directory_list rights;       /* directory_right_next() */
	struct directory_list networks;     /* directory_network_next(); empty: from anywhere */
	struct directory_list limits;       /* directory_limit_next(): scopes login and network */
	struct directory_list destinations; /* directory_right_next(): whom it may write to; empty: anybody */
	int64_t suspended_at;               /* by the takeover guard, seconds since 1970; 0: it is not */
	struct text suspended_reason;
	int64_t guard_since; /* the takeover guard counts from here on; 0: from the beginning */
};

struct directory_customer {
	struct text name;
	enum directory_status status;
	struct text status_reason;
	int64_t status_until; /* seconds since 1970; 0: until it is resumed */
	enum directory_header_from header_from;
	bool return_path;              /* the envelope sender is made by common/return_path.h */
	struct text list_unsubscribe;  /* template of an https URL; empty: no List-Unsubscribe is added */
	struct directory_list limits;  /* scopes customer and destination */
	struct directory_list offsets; /* directory_offset_next(): the customer's time zone */
	int64_t max_recipients;        /* of one message; 0: no bound but Postfix' own */
	enum takeover_action takeover; /* what becomes of a login that seems to be taken over */
	struct text transport;         /* Postfix' "transport:nexthop" that its mail leaves by; empty: as all mail */
};

struct directory_domain {
	struct text name, customer;
	enum directory_header_profile profile;
	enum directory_signatures signatures;
	struct directory_list keys;   /* directory_key_next() */
	struct directory_list limits; /* scope domain */
};

struct directory_key {
	struct text selector;
	enum directory_key_algorithm algorithm;
	enum directory_key_state state;
	struct text sealed;     /* seal.h; associated data "domain selector" */
	struct text public_key; /* what the record's p= says: DER SubjectPublicKeyInfo (rsa) or 32 bytes (ed25519) */
};

struct directory_suppression {
	struct text reason;             /* hard-bounce, soft-bounce, complaint, manual, … */
	struct text event_id;           /* the event that caused it; empty when entered by hand */
	int64_t created_at, expires_at; /* seconds since 1970; 0: never */
};

struct directory_relay {
	struct directory_list limits; /* scope relay */
};

/* Who may send as addresses of one domain, or, by "*@owned", of all domains of one customer: the logins that have a right
 * to some of them, which ones their own records say. */
struct directory_senders {
	struct directory_list logins; /* directory_name_next() */
};

/* A customer with a transport of its own, as return paths name it: common/return_path.h. */
struct directory_return_path {
	struct text customer;
};

/* From the instant FROM on (seconds since 1970) local time is UTC + OFFSET seconds. */
struct directory_offset {
	int64_t from;
	int32_t offset;
};

/* How far a snapshot has come: the entry that a reader looks at first and that the follower goes on from. */
struct directory_state {
	struct text source;   /* names the database: another one means another directory */
	int64_t seq;          /* every change up to here is applied, but for the gaps */
	struct text snapshot; /* what it shows, as Postgres says it: pg_current_snapshot() (ctl/follow.h) */
	int64_t built_at;     /* seconds since 1970: the last full build */
	int64_t changed_at;   /* the last change applied */
};

/* What stands in the file: entries of these kinds, found by kind and name. A customer's, login's or domain's name is
 * compared in lower case; a suppression's is "CUSTOMER RECIPIENT"; senders are found by a domain, in lower case, or by a
 * customer, whose name has no dot; a return path's name is its customer's short form in hex; the relay and the state have the empty name. */
enum directory_kind {
	DIRECTORY_CUSTOMERS,
	DIRECTORY_DOMAINS,
	DIRECTORY_LOGINS,
	DIRECTORY_RELAY,
	DIRECTORY_SUPPRESSIONS,
	DIRECTORY_STATE,
	DIRECTORY_SENDERS,
	DIRECTORY_RETURN_PATHS,
	DIRECTORY_KIND_MAX
};
/* The words of waybill.changes.kind: "customer", "domain", … */
extern const char *const directory_kind_names[DIRECTORY_KIND_MAX];

/* LMDB's bound on a key. The longest of ours is a suppression: 1 + 63 + 1 + ADDR_MAX. */
#define DIRECTORY_ENTRY_KEY_MAX 511
/* Writes the key of an entry, not NUL-terminated. Its length, or 0 when NAME is too long to be in any directory. */
size_t directory_entry_key(enum directory_kind kind, struct text name, char out[DIRECTORY_ENTRY_KEY_MAX]);
/* The other way: NULL, *KIND and *NAME, a view into KEY; or why it is none. */
const char *directory_entry_kind(struct text key, enum directory_kind *kind, struct text *name);
/* Is RECORD whole, its lists to the last byte included? NULL, or what is wrong. */
const char *directory_record_check(enum directory_kind kind, struct text record);

/* Each takes the next element; false at the end. Damaged bytes end the list. */
bool directory_right_next(struct directory_list *list, struct right *out);
bool directory_network_next(struct directory_list *list, struct network *out);
bool directory_limit_next(struct directory_list *list, struct limit *out);
bool directory_key_next(struct directory_list *list, struct directory_key *out);
bool directory_name_next(struct directory_list *list, struct text *out);
bool directory_offset_next(struct directory_list *list, struct directory_offset *out);
/* The offset in force at NOW_S, elements in order of time; the first holds before its time too. 0 (UTC) for an empty
 * list. */
int32_t directory_offset_at(struct directory_list offsets, int64_t now_s);

/* Append one element to a list under construction; its bytes become a record's list. */
void directory_right_add(struct buffer *list, struct right right);
void directory_network_add(struct buffer *list, const struct network *network);
void directory_limit_add(struct buffer *list, const struct limit *limit);
void directory_key_add(struct buffer *list, const struct directory_key *key);
void directory_name_add(struct buffer *list, struct text name);
void directory_offset_add(struct buffer *list, struct directory_offset offset);

/* A record as bytes, and back: NULL, or why the bytes are none. Decoded texts are views into BYTES. */
void directory_login_encode(const struct directory_login *in, struct buffer *out);
void directory_customer_encode(const struct directory_customer *in, struct buffer *out);
void directory_domain_encode(const struct directory_domain *in, struct buffer *out);
void directory_suppression_encode(const struct directory_suppression *in, struct buffer *out);
void directory_relay_encode(const struct directory_relay *in, struct buffer *out);
void directory_state_encode(const struct directory_state *in, struct buffer *out);
void directory_senders_encode(const struct directory_senders *in, struct buffer *out);
void directory_return_path_encode(const struct directory_return_path *in, struct buffer *out);
const char *directory_login_decode(struct text bytes, struct directory_login *out);
const char *directory_customer_decode(struct text bytes, struct directory_customer *out);
const char *directory_domain_decode(struct text bytes, struct directory_domain *out);
const char *directory_suppression_decode(struct text bytes, struct directory_suppression *out);
const char *directory_relay_decode(struct text bytes, struct directory_relay *out);
const char *directory_state_decode(struct text bytes, struct directory_state *out);
const char *directory_senders_decode(struct text bytes, struct directory_senders *out);
const char *directory_return_path_decode(struct text bytes, struct directory_return_path *out);

#endif
