#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/digest.h"
#include "common/seal.h"

#include "bouncer/signature.h"

/* The public vector of Standard Webhooks' reference libraries. */
#define SECRET    TEXT("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
#define ID        TEXT("msg_p5jXN8AQM9LWM0D4loKWxJek")
#define TIMESTAMP 1614265330
#define BODY      TEXT("{\"test\": 2432232314}")
#define SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

static void test_public_vector(void **state)
{
	struct buffer key = {0}, out = {0};
	(void)state;
	assert_null(signature_key(SECRET, &key));
	assert_int_equal(key.len, 24);
	struct digest_mac *mac = digest_mac_new(buffer_view(&key));
	signature_add(mac, ID, TIMESTAMP, BODY, &out);
	assert_string_equal(buffer_string(&out), SIGNATURE);
	signature_add(mac, ID, TIMESTAMP, BODY, &out);
	assert_string_equal(buffer_string(&out), SIGNATURE " " SIGNATURE);
	digest_mac_free(&mac);
	seal_wipe(&key);
	buffer_free(&out);
}

static void test_secrets(void **state)
{
	static const struct {
		const char *secret;
		bool good;
	} rows[] = {
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true},
		{"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", false},
		{"whsec_", false},
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", false},  /* not base64 */
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLQ==", false}, /* 22 bytes */
		{"whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buffer key = {0};
		if (!signature_key(text_of(rows[i].secret), &key) != rows[i].good)
			fail_msg("%s", rows[i].secret);
		seal_wipe(&key);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_public_vector), cmocka_unit_test(test_secrets)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
