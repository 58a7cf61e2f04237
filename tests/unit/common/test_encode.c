/* RFC 4648: its own test vectors, and what must be refused. */

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/encode.h"

static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
#define PLAIN (sizeof plain / sizeof *plain)

static void assert_buffer(struct buffer *got, const char *want)
{
	assert_string_equal(buffer_string(got), want);
	assert_int_equal(got->len, strlen(want));
	buffer_free(got);
}

static void base64(void **state)
{
	static const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	(void)state;
	for (size_t i = 0; i < PLAIN; i++) {
		struct buffer out = {0};
		encode_base64(text_of(plain[i]), &out);
		assert_buffer(&out, coded[i]);
		assert_null(encode_base64_decode(text_of(coded[i]), &out));
		assert_buffer(&out, plain[i]);
	}
}

static void base64_all_bytes(void **state)
{
	char bytes[256];
	struct buffer coded = {0}, back = {0};
	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)(i * 7);
	for (size_t len = 0; len <= sizeof bytes; len++) {
		coded.len = back.len = 0;
		encode_base64(text_at(bytes, len), &coded);
		assert_int_equal(coded.len, (len + 2) / 3 * 4);
		assert_null(encode_base64_decode(buffer_view(&coded), &back));
		assert_true(text_equal(buffer_view(&back), text_at(bytes, len)));
	}
	buffer_free(&coded);
	buffer_free(&back);
}

static void base64_lenient(void **state)
{
	struct buffer out = {0};
	(void)state;
	assert_null(encode_base64_decode(TEXT(" Zm\r\n\t9vYg = =\n"), &out));
	assert_buffer(&out, "foob");
	assert_null(encode_base64_decode(TEXT("Zm9vYg"), &out));
	assert_buffer(&out, "foob");
}

static void base32_decoded(void **state)
{
	static const char *const wrong[] = {"m", "mz", "mzx", "my======", "m1", "mzxw6y", "mzxw 6"};
	struct buffer coded = {0}, out = {0};
	(void)state;
	for (size_t i = 0; i < PLAIN; i++) {
		coded.len = out.len = 0;
		encode_base32(text_of(plain[i]), &coded);
		for (size_t k = 0; k < coded.len; k += 2)
			if (coded.ptr[k] >= 'a')
				coded.ptr[k] = (char)(coded.ptr[k] - 'a' + 'A');
		assert_null(encode_base32_decode(buffer_view(&coded), &out));
		assert_buffer(&out, plain[i]);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_non_null(encode_base32_decode(text_of(wrong[i]), &out));
	buffer_free(&coded);
	buffer_free(&out);
}

static void base64_refused(void **state)
{
	static const struct text bad[] = {TEXT("Z"),    TEXT("Zm9vY"), TEXT("Zg="),       TEXT("Zg==="),
					  TEXT("="),    TEXT("===="),  TEXT("Zg==Zg"),    TEXT("Zm9-"),
					  TEXT("Zm9_"), TEXT("Zm\0v"), TEXT("Zm9v\x80g=")};
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct buffer out = {0};
		assert_non_null(encode_base64_decode(bad[i], &out));
		buffer_free(&out);
	}
}

static void base32(void **state)
{
	static const char *const coded[] = {"", "my", "mzxq", "mzxw6", "mzxw6yq", "mzxw6ytb", "mzxw6ytboi"};
	(void)state;
	for (size_t i = 0; i < PLAIN; i++) {
		struct buffer out = {0};
		encode_base32(text_of(plain[i]), &out);
		assert_buffer(&out, coded[i]);
	}
}

static void hex(void **state)
{
	static const char *const coded[] = {"", "66", "666f", "666f6f", "666f6f62", "666f6f6261", "666f6f626172"};
	(void)state;
	for (size_t i = 0; i < PLAIN; i++) {
		struct buffer out = {0};
		encode_hex(text_of(plain[i]), &out);
		assert_buffer(&out, coded[i]);
		assert_null(encode_hex_decode(text_of(coded[i]), &out));
		assert_buffer(&out, plain[i]);
	}
	struct buffer out = {0};
	encode_hex(TEXT("\0\x7f\x80\xff"), &out);
	assert_buffer(&out, "007f80ff");
	assert_null(encode_hex_decode(TEXT("7aBcDe"), &out));
	assert_buffer(&out, "z\xbc\xde");
}

static void hex_refused(void **state)
{
	static const struct text bad[] = {TEXT("6"),   TEXT("6g"),   TEXT("g6"), TEXT("66 "),
					  TEXT("6\0"), TEXT("0x66"), TEXT(" 66")};
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct buffer out = {0};
		assert_non_null(encode_hex_decode(bad[i], &out));
		buffer_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64),
		cmocka_unit_test(base64_all_bytes),
		cmocka_unit_test(base64_lenient),
		cmocka_unit_test(base64_refused),
		cmocka_unit_test(base32),
		cmocka_unit_test(base32_decoded),
		cmocka_unit_test(hex),
		cmocka_unit_test(hex_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
