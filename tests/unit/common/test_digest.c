/* SHA-256 (FIPS 180-4), HMAC (RFC 4231), random bytes. */

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/digest.h"
#include "common/encode.h"

static void assert_digest(const unsigned char digest[32], const char *want)
{
	struct buffer hex = {0};
	encode_hex(text_at(digest, 32), &hex);
	assert_string_equal(buffer_string(&hex), want);
	buffer_free(&hex);
}

static void sha256(void **state)
{
	unsigned char digest[32];
	(void)state;
	digest_sha256((struct text){0}, digest);
	assert_digest(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_sha256(TEXT("abc"), digest);
	assert_digest(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void hmac(void **state)
{
	unsigned char digest[32];
	char key[131];
	(void)state;
	memset(key, 0x0b, 20);
	digest_hmac_sha256(text_at(key, 20), TEXT("Hi There"), digest); /* RFC 4231 section 4.2 */
	assert_digest(digest, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	digest_hmac_sha256(TEXT("Jefe"), TEXT("what do ya want for nothing?"), digest); /* section 4.3 */
	assert_digest(digest, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof key);
	digest_hmac_sha256(text_at(key, sizeof key), /* section 4.7 */
			   TEXT("Test Using Larger Than Block-Size Key - Hash Key First"), digest);
	assert_digest(digest, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	digest_hmac_sha256((struct text){0}, (struct text){0}, digest);
	assert_digest(digest, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void mac_of_parts(void **state)
{
	unsigned char digest[32], once[32];
	struct digest_mac *mac = digest_mac_new(TEXT("Jefe"));
	(void)state;
	for (int i = 0; i < 3; i++) { /* the same again: nothing is left over from the message before */
		digest_mac_add(mac, TEXT("what do ya want "));
		digest_mac_add(mac, (struct text){0});
		digest_mac_add(mac, TEXT("for nothing?"));
		digest_mac_end(mac, digest);
		assert_digest(digest, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	}
	digest_mac_free(&mac);
	mac = digest_mac_new((struct text){0});
	digest_mac_end(mac, digest);
	digest_hmac_sha256((struct text){0}, (struct text){0}, once);
	assert_memory_equal(digest, once, sizeof digest);
	digest_mac_free(&mac);
	digest_mac_free(&mac);
}

static void equal(void **state)
{
	(void)state;
	assert_true(digest_equal("abc", "abc", 3));
	assert_false(digest_equal("abc", "abd", 3));
	assert_true(digest_equal("abc", "abd", 2));
	assert_true(digest_equal("a", "b", 0));
}

static void random_bytes(void **state)
{
	unsigned char a[32] = {0}, b[32] = {0};
	(void)state;
	digest_random(a, sizeof a);
	digest_random(b, sizeof b);
	assert_memory_not_equal(a, b, sizeof a);
	digest_random(a, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256), cmocka_unit_test(hmac),         cmocka_unit_test(mac_of_parts),
		cmocka_unit_test(equal),  cmocka_unit_test(random_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
