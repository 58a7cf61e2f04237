/* The keys under which records stand in the snapshot, and whether a record is whole. */

#include "common/directory_record.h"

/* The first byte of an entry's key, by kind. Their order is the file's. */
static const char kind_letters[DIRECTORY_KIND_MAX] = {'c', 'd', 'l', 'r', 's', '!', 'f', 'p'};

const char *const directory_kind_names[DIRECTORY_KIND_MAX] = {"customer",    "domain", "login",   "relay",
							      "suppression", "state",  "senders", "return_path"};

size_t directory_entry_key(enum directory_kind kind, struct text name, char out[DIRECTORY_ENTRY_KEY_MAX])
{
	if (name.len >= DIRECTORY_ENTRY_KEY_MAX)
		return 0;
	out[0] = kind_letters[kind];
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		bool fold = kind != DIRECTORY_SUPPRESSIONS && c >= 'A' && c <= 'Z';
		out[1 + i] = fold ? (char)(c - 'A' + 'a') : c;
	}
	return 1 + name.len;
}

const char *directory_entry_kind(struct text key, enum directory_kind *kind, struct text *name)
{
	for (int i = 0; key.len && i < DIRECTORY_KIND_MAX; i++) {
		if (kind_letters[i] != key.ptr[0])
			continue;
		*kind = (enum directory_kind)i;
		*name = text_from(key, 1);
		return NULL;
	}
	return "an entry of no known kind";
}

/* Walks LIST with NEXT: is it whole to its last byte? */
#define LIST_WHOLE(list, type, next)                        \
	do {                                                \
		struct directory_list walk = (list);        \
		type element;                               \
		while (walk.bytes.len)                      \
			if (!next(&walk, &element))         \
				return "a list is damaged"; \
	} while (0)

static const char *login_check(struct text record)
{
	struct directory_login login;
	const char *why = directory_login_decode(record, &login);
	if (why)
		return why;
	LIST_WHOLE(login.rights, struct right, directory_right_next);
	LIST_WHOLE(login.networks, struct network, directory_network_next);
	LIST_WHOLE(login.limits, struct limit, directory_limit_next);
	return NULL;
}

static const char *customer_check(struct text record)
{
	struct directory_customer customer;
	const char *why = directory_customer_decode(record, &customer);
	if (why)
		return why;
	LIST_WHOLE(customer.limits, struct limit, directory_limit_next);
	LIST_WHOLE(customer.offsets, struct directory_offset, directory_offset_next);
	return NULL;
}

static const char *domain_check(struct text record)
{
	struct directory_domain domain;
	const char *why = directory_domain_decode(record, &domain);
	if (why)
		return why;
	LIST_WHOLE(domain.keys, struct directory_key, directory_key_next);
	LIST_WHOLE(domain.limits, struct limit, directory_limit_next);
	return NULL;
}

static const char *relay_check(struct text record)
{
	struct directory_relay relay;
	const char *why = directory_relay_decode(record, &relay);
	if (why)
		return why;
	LIST_WHOLE(relay.limits, struct limit, directory_limit_next);
	return NULL;
}

static const char *suppression_check(struct text record)
{
	struct directory_suppression suppression;
	return directory_suppression_decode(record, &suppression);
}

static const char *state_check(struct text record)
{
	struct directory_state state;
	return directory_state_decode(record, &state);
}

static const char *senders_check(struct text record)
{
	struct directory_senders senders;
	const char *why = directory_senders_decode(record, &senders);
	if (why)
		return why;
	LIST_WHOLE(senders.logins, struct text, directory_name_next);
	return NULL;
}

static const char *return_path_check(struct text record)
{
	struct directory_return_path return_path;
	return directory_return_path_decode(record, &return_path);
}

const char *directory_record_check(enum directory_kind kind, struct text record)
{
	static const char *(*const checks[DIRECTORY_KIND_MAX])(struct text) = {
		[DIRECTORY_CUSTOMERS] = customer_check,
		[DIRECTORY_DOMAINS] = domain_check,
		[DIRECTORY_LOGINS] = login_check,
		[DIRECTORY_RELAY] = relay_check,
		[DIRECTORY_SUPPRESSIONS] = suppression_check,
		[DIRECTORY_STATE] = state_check,
		[DIRECTORY_SENDERS] = senders_check,
		[DIRECTORY_RETURN_PATHS] = return_path_check,
	};
	return checks[kind](record);
}
