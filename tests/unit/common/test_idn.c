/* Internationalised domains: IDNA 2008, non-transitional (RFC 5891, UTS 46). */

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/addr.h"
#include "common/idn.h"

static void converts(void **state)
{
	static const struct {
		struct text in;
		const char *out;
	} rows[] = {
		{TEXT("Example.COM"), "example.com"},
		{TEXT("xn--MLLER-kva.example"), "xn--mller-kva.example"},
		{TEXT("m\xc3\xbcller.example"), "xn--mller-kva.example"},
		{TEXT("M\xc3\x9cLLER.Example"), "xn--mller-kva.example"},
		{TEXT("mu\xcc\x88ller.example"), "xn--mller-kva.example"}, /* decomposed */
		{TEXT("fa\xc3\x9f.example"), "xn--fa-hia.example"},        /* not "fass": non-transitional */
		{TEXT("\xce\xb2\xcf\x8c\xce\xbb\xce\xbf\xcf\x82.example"),
		 "xn--nxasmm1c.example"}, /* final sigma stays */
		{TEXT("\xe4\xbe\x8b\xe5\xad\x90.\xe6\xb5\x8b\xe8\xaf\x95"), "xn--fsqu00a.xn--0zwm56d"},
		{TEXT(""), ""},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char out[ADDR_MAX_DOMAIN + 1];
		const char *why = idn_to_ascii(rows[i].in, out, sizeof out);
		if (why)
			print_error("row %zu: %s\n", i, why);
		assert_null(why);
		assert_string_equal(out, rows[i].out);
	}
}

static void refuses(void **state)
{
	static const struct text bad[] = {
		TEXT("m\xc3.example"),         /* no UTF-8 */
		TEXT("m\xed\xa0\x80.example"), /* a surrogate */
		TEXT("a\0b.example"),
		TEXT("\xc3\xbc\0.example"),
		TEXT("m\xc3\xbcl ler.example"), /* RFC 1034's letters, digits and hyphens only */
		TEXT("m\xc3\xbcl@ler.example"),
		TEXT("\xf0\x9f\x98\x80\xf3\xa0\x80\x81.example"), /* a tag character */
		TEXT("-\xc3\xbc.example"),
		TEXT("m\xc3\xbcl_ler.example"),
		TEXT("\xc3\xbc\xef\xbc\xa0x.example"), /* a full-width @ */
	};
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char out[ADDR_MAX_DOMAIN + 1];
		if (!idn_to_ascii(bad[i], out, sizeof out))
			print_error("row %zu: accepted as %s\n", i, out);
		assert_non_null(idn_to_ascii(bad[i], out, sizeof out));
	}
}

static void limits_length(void **state)
{
	char long_domain[2000], out[ADDR_MAX_DOMAIN + 1];
	(void)state;
	memset(long_domain, 'a', sizeof long_domain);
	assert_non_null(idn_to_ascii(text_at(long_domain, 256), out, sizeof out));
	assert_null(idn_to_ascii(text_at(long_domain, 255), out, sizeof out));
	memcpy(long_domain, "\xc3\xbc", 2);
	assert_non_null(idn_to_ascii(text_at(long_domain, 64), out, sizeof out));
	assert_non_null(idn_to_ascii(text_at(long_domain, sizeof long_domain), out, sizeof out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(converts),
		cmocka_unit_test(refuses),
		cmocka_unit_test(limits_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
