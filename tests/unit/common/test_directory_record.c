/* The snapshot's records: what goes in comes out, and damage is found. */

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/directory_record.h"

static struct text T(const char *s) {
	return text_of(s);
}

static void
assert_text(struct text got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.ptr, want, got.len);
}

static const struct network v4 = {{[10] = 0xff, 0xff, 192, 0, 2}, 120}; /* 192.0.2.0/24 */
static const struct network v6 = {{0x20, 0x01, 0x0d, 0xb8}, 32};        /* 2001:db8::/32 */

/* One record of each kind, its lists filled. */
static void sample_login(struct buffer *out)
{
	struct buffer rights = {0}, networks = {0}, limits = {0};
	directory_right_add(&rights, (struct right){true, T("*@owned")});
	directory_right_add(&rights, (struct right){false, T("boss@example.com")});
	directory_network_add(&networks, &v4);
	directory_network_add(&networks, &v6);
	struct limit limit = {T("l-1"),   LIMIT_LOGIN,     LIMIT_RECIPIENTS, {100, 200, LIMIT_HOUR},
			      LIMIT_HOLD, T("example.net")};
	directory_limit_add(&limits, &limit);
	struct directory_login login = {
		.name = T("app@acme"),
		.customer = T("acme"),
		.enabled = true,
		.created_at = 1790000000,
		.expires_at = -1,
		.rights = {buffer_view(&rights)},
		.networks = {buffer_view(&networks)},
		.limits = {buffer_view(&limits)},
		.destinations = {buffer_view(&rights)},
		.suspended_at = 1790000100,
		.suspended_reason = TEXT("score 90"),
		.guard_since = 1790000200,
	};
	directory_login_encode(&login, out);
	buffer_free(&rights);
	buffer_free(&networks);
	buffer_free(&limits);
}

static void sample_customer(struct buffer *out)
{
	struct buffer offsets = {0};
	directory_offset_add(&offsets, (struct directory_offset){1000, 3600});
	directory_offset_add(&offsets, (struct directory_offset){2000, 7200});
	directory_offset_add(&offsets, (struct directory_offset){3000, -3600});
	struct directory_customer customer = {
		.name = T("acme"),
		.status = DIRECTORY_SUSPENDED,
		.status_reason = T("invoice open"),
		.status_until = 1800000000,
		.header_from = DIRECTORY_FROM_ENFORCE,
		.return_path = true,
		.list_unsubscribe = T("https://u.example/{token}"),
		.offsets = {buffer_view(&offsets)},
		.max_recipients = 500,
		.takeover = TAKEOVER_SUSPEND,
		.transport = T("smtp-acme:"),
	};
	directory_customer_encode(&customer, out);
	buffer_free(&offsets);
}

static void sample_domain(struct buffer *out)
{
	struct buffer keys = {0};
	struct directory_key key = {T("s2026q4"), DIRECTORY_RSA_SHA256, DIRECTORY_KEY_ACTIVE, text_at("\1\0\2", 3),
				    T("spki")};
	directory_key_add(&keys, &key);
	key = (struct directory_key){T("s2026q4e"), DIRECTORY_ED25519_SHA256, DIRECTORY_KEY_PENDING, T(""), T("")};
	directory_key_add(&keys, &key);
	struct directory_domain domain = {
		.name = T("example.com"),
		.customer = T("acme"),
		.profile = DIRECTORY_PROFILE_LIST_FRIENDLY,
		.signatures = DIRECTORY_SIGN_ONE,
		.keys = {buffer_view(&keys)},
	};
	directory_domain_encode(&domain, out);
	buffer_free(&keys);
}

static void sample_suppression(struct buffer *out)
{
	struct directory_suppression in = {T("hard-bounce"), T("evt_x"), 5, 0};
	directory_suppression_encode(&in, out);
}

static void sample_relay(struct buffer *out)
{
	struct buffer limits = {0};
	struct limit limit = {.id = T("relay"),
			      .scope = LIMIT_RELAY,
			      .unit = LIMIT_BYTES,
			      .spec = {LIMIT_MAX_AMOUNT, LIMIT_MAX_AMOUNT, LIMIT_MONTH},
			      .action = LIMIT_SHADOW};
	directory_limit_add(&limits, &limit);
	struct directory_relay in = {{buffer_view(&limits)}};
	directory_relay_encode(&in, out);
	buffer_free(&limits);
}

static void sample_state(struct buffer *out)
{
	struct directory_state in = {T("7312-16384"), INT64_MAX, T("7,9"), INT64_MIN, 1};
	directory_state_encode(&in, out);
}

static void sample_senders(struct buffer *out)
{
	struct buffer logins = {0};
	directory_name_add(&logins, T("app@acme"));
	directory_name_add(&logins, T("news@acme"));
	directory_senders_encode(&(struct directory_senders){{buffer_view(&logins)}}, out);
	buffer_free(&logins);
}

static void sample_return_path(struct buffer *out)
{
	directory_return_path_encode(&(struct directory_return_path){T("acme")}, out);
}

static void (*const samples[DIRECTORY_KIND_MAX])(struct buffer *) = {
	[DIRECTORY_CUSTOMERS] = sample_customer,
	[DIRECTORY_DOMAINS] = sample_domain,
	[DIRECTORY_LOGINS] = sample_login,
	[DIRECTORY_RELAY] = sample_relay,
	[DIRECTORY_SUPPRESSIONS] = sample_suppression,
	[DIRECTORY_STATE] = sample_state,
	[DIRECTORY_SENDERS] = sample_senders,
	[DIRECTORY_RETURN_PATHS] = sample_return_path,
};

static void login_comes_back(void **state)
{
	(void)state;
	struct buffer bytes = {0};
	sample_login(&bytes);
	struct directory_login login;
	assert_null(directory_login_decode(buffer_view(&bytes), &login));
	assert_text(login.name, "app@acme");
	assert_text(login.customer, "acme");
	assert_true(login.enabled);
	assert_int_equal(login.created_at, 1790000000);
	assert_int_equal(login.expires_at, -1);
	assert_int_equal(login.suspended_at, 1790000100);
	assert_text(login.suspended_reason, "score 90");
	assert_int_equal(login.guard_since, 1790000200);
	struct right right;
	assert_true(directory_right_next(&login.rights, &right));
	assert_true(right.allow);
	assert_text(right.pattern, "*@owned");
	assert_true(directory_right_next(&login.rights, &right));
	assert_false(right.allow);
	assert_text(right.pattern, "boss@example.com");
	assert_false(directory_right_next(&login.rights, &right));
	struct network network;
	assert_true(directory_network_next(&login.networks, &network));
	assert_memory_equal(&network, &v4, sizeof(network));
	assert_true(directory_network_next(&login.networks, &network));
	assert_memory_equal(&network, &v6, sizeof(network));
	assert_false(directory_network_next(&login.networks, &network));
	struct limit limit;
	assert_true(directory_limit_next(&login.limits, &limit));
	assert_text(limit.id, "l-1");
	assert_int_equal(limit.scope, LIMIT_LOGIN);
	assert_int_equal(limit.unit, LIMIT_RECIPIENTS);
	assert_int_equal(limit.action, LIMIT_HOLD);
	assert_text(limit.destination, "example.net");
	assert_int_equal(limit.spec.amount, 100);
	assert_int_equal(limit.spec.burst, 200);
	assert_int_equal(limit.spec.period, LIMIT_HOUR);
	buffer_free(&bytes);
}

static void the_others_come_back(void **state)
{
	(void)state;
	struct buffer bytes = {0};
	struct directory_customer customer;
	sample_customer(&bytes);
	assert_null(directory_customer_decode(buffer_view(&bytes), &customer));
	assert_int_equal(customer.status, DIRECTORY_SUSPENDED);
	assert_true(customer.return_path);
	assert_text(customer.list_unsubscribe, "https://u.example/{token}");
	assert_text(customer.status_reason, "invoice open");
	assert_int_equal(customer.status_until, 1800000000);
	assert_int_equal(customer.header_from, DIRECTORY_FROM_ENFORCE);
	assert_int_equal(customer.max_recipients, 500);
	assert_int_equal(customer.takeover, TAKEOVER_SUSPEND);
	assert_text(customer.transport, "smtp-acme:");
	assert_int_equal(directory_offset_at(customer.offsets, 0), 3600);
	assert_int_equal(directory_offset_at(customer.offsets, 1999), 3600);
	assert_int_equal(directory_offset_at(customer.offsets, 2000), 7200);
	assert_int_equal(directory_offset_at(customer.offsets, 9999), -3600);
	assert_int_equal(directory_offset_at((struct directory_list){{NULL, 0}}, 5), 0);

	struct directory_domain domain;
	struct directory_key key;
	bytes.len = 0;
	sample_domain(&bytes);
	assert_null(directory_domain_decode(buffer_view(&bytes), &domain));
	assert_int_equal(domain.profile, DIRECTORY_PROFILE_LIST_FRIENDLY);
	assert_int_equal(domain.signatures, DIRECTORY_SIGN_ONE);
	assert_true(directory_key_next(&domain.keys, &key));
	assert_text(key.selector, "s2026q4");
	assert_int_equal(key.state, DIRECTORY_KEY_ACTIVE);
	assert_int_equal(key.sealed.len, 3);
	assert_memory_equal(key.sealed.ptr, "\1\0\2", 3);
	assert_text(key.public_key, "spki");
	assert_true(directory_key_next(&domain.keys, &key));
	assert_int_equal(key.algorithm, DIRECTORY_ED25519_SHA256);
	assert_false(directory_key_next(&domain.keys, &key));

	struct directory_state position;
	bytes.len = 0;
	sample_state(&bytes);
	assert_null(directory_state_decode(buffer_view(&bytes), &position));
	assert_true(position.seq == INT64_MAX && position.built_at == INT64_MIN);
	assert_text(position.snapshot, "7,9");

	struct directory_senders senders;
	struct text login;
	bytes.len = 0;
	sample_senders(&bytes);
	assert_null(directory_senders_decode(buffer_view(&bytes), &senders));
	assert_true(directory_name_next(&senders.logins, &login));
	assert_text(login, "app@acme");
	assert_true(directory_name_next(&senders.logins, &login));
	assert_text(login, "news@acme");
	assert_false(directory_name_next(&senders.logins, &login));
	buffer_free(&bytes);
}

static void every_cut_and_every_addition_is_found(void **state)
{
	(void)state;
	for (int kind = 0; kind < DIRECTORY_KIND_MAX; kind++) {
		struct buffer bytes = {0};
		samples[kind](&bytes);
		assert_null(directory_record_check((enum directory_kind)kind, buffer_view(&bytes)));
		for (size_t len = 0; len < bytes.len; len++)
			assert_non_null(
				directory_record_check((enum directory_kind)kind, text_head(buffer_view(&bytes), len)));
		buffer_char(&bytes, 0);
		assert_non_null(directory_record_check((enum directory_kind)kind, buffer_view(&bytes)));
		bytes.ptr[0] = DIRECTORY_FORMAT + 1;
		assert_non_null(directory_record_check((enum directory_kind)kind, buffer_view(&bytes)));
		buffer_free(&bytes);
	}
}

static void damaged_lists_end(void **state)
{
	(void)state;
	struct directory_list list = {text_at("\1\5abc", 5)}; /* a pattern of 5 bytes, of which 3 are there */
	struct right right;
	assert_false(directory_right_next(&list, &right));
	assert_int_equal(list.bytes.len, 0);
	list = (struct directory_list){text_at("\x81", 1)}; /* a prefix of 129 bits */
	struct network network;
	assert_false(directory_network_next(&list, &network));
	list = (struct directory_list){text_at("\0\377\377\377\377\377\377\377\377\377\377\1", 12)};
	assert_false(directory_right_next(&list, &right)); /* a number of 11 bytes */
}

static void keys_name_kind_and_name(void **state)
{
	(void)state;
	char key[DIRECTORY_ENTRY_KEY_MAX];
	enum directory_kind kind;
	struct text name;
	size_t len = directory_entry_key(DIRECTORY_LOGINS, T("App@ACME"), key);
	assert_null(directory_entry_kind(text_at(key, len), &kind, &name));
	assert_int_equal(kind, DIRECTORY_LOGINS);
	assert_text(name, "app@acme");
	len = directory_entry_key(DIRECTORY_SUPPRESSIONS, T("acme Jane@example.com"), key);
	assert_null(directory_entry_kind(text_at(key, len), &kind, &name));
	assert_int_equal(kind, DIRECTORY_SUPPRESSIONS);
	assert_text(name, "acme Jane@example.com");
	assert_int_equal(directory_entry_key(DIRECTORY_STATE, T(""), key), 1);
	assert_int_equal(directory_entry_key(DIRECTORY_LOGINS, text_at(key, DIRECTORY_ENTRY_KEY_MAX), key), 0);
	assert_non_null(directory_entry_kind(T("?x"), &kind, &name));
	assert_non_null(directory_entry_kind(T(""), &kind, &name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(login_comes_back),
		cmocka_unit_test(the_others_come_back),
		cmocka_unit_test(every_cut_and_every_addition_is_found),
		cmocka_unit_test(damaged_lists_end),
		cmocka_unit_test(keys_name_kind_and_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
