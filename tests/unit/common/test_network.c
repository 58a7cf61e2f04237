/* IP addresses and networks; the C library's inet_pton and inet_ntop are the second opinion. */

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/network.h"

static struct network net(const char *text)
{
	struct network out;
	assert_null(network_parse(text_of(text), &out));
	return out;
}

static void prints_back(void **state)
{
	static const char *const rows[][2] = {
		{"192.0.2.7", "192.0.2.7"},
		{"192.0.2.0/24", "192.0.2.0/24"},
		{"192.0.2.7/32", "192.0.2.7"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"255.255.255.255", "255.255.255.255"},
		{"::ffff:192.0.2.7", "192.0.2.7"},
		{"::FFFF:c000:207", "192.0.2.7"},
		{"::ffff:192.0.2.0/120", "192.0.2.0/24"},
		{"2001:DB8::/32", "2001:db8::/32"},
		{"2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"},
		{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},    /* RFC 5952 section 4.2.3: the first of equals */
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, /* section 4.2.2: not for one group */
		{"::", "::"},
		{"::/0", "::/0"},
		{"::1", "::1"},
		{"1::", "1::"},
		{"fe80::1:2:3:4", "fe80::1:2:3:4"},
		{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
		{"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
		{"1:2:3:4:5:6:192.0.2.33", "1:2:3:4:5:6:c000:221"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char out[NETWORK_TEXT_MAX];
		struct network n = net(rows[i][0]);
		network_print(&n, out);
		assert_string_equal(out, rows[i][1]);
	}
}

static void refused(void **state)
{
	static const struct text bad[] = {
		TEXT(""),
		TEXT("1"),
		TEXT("1.2.3"),
		TEXT("1.2.3.4.5"),
		TEXT("1.2.3.256"),
		TEXT("01.2.3.4"),
		TEXT("1.2.3.4 "),
		TEXT(" 1.2.3.4"),
		TEXT("1.2.3.-4"),
		TEXT("0x1.2.3.4"),
		TEXT("1.2.3.4/"),
		TEXT("1.2.3.4/33"),
		TEXT("1.2.3.4/-1"),
		TEXT("1.2.3.4/24"),
		TEXT("1.2.3.4/24/24"),
		TEXT("1..3.4"),
		TEXT("1.2.3.4\0"),
		TEXT(":"),
		TEXT(":::"),
		TEXT("1:::2"),
		TEXT("::1::"),
		TEXT("12345::"),
		TEXT("g::"),
		TEXT("1:2:3:4:5:6:7"),
		TEXT("1:2:3:4:5:6:7:8:9"),
		TEXT("::1:2:3:4:5:6:7:8"),
		TEXT(":1:2:3:4:5:6:7:8"),
		TEXT("1:2:3:4:5:6:7:8:"),
		TEXT("::1.2.3"),
		TEXT("1.2.3.4::"),
		TEXT("1.2.3.4::1"),
		TEXT("::1.2.3.4:1"),
		TEXT("fe80::1%eth0"),
		TEXT("2001:db8::/129"),
		TEXT("2001:db8::1/32"),
		TEXT("[::1]"),
		TEXT("::\0001"),
		TEXT("localhost"),
		TEXT("1:2:3:4:5:6:7:1.2.3.4"),
	};
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct network out = {.prefix = 77};
		if (!network_parse(bad[i], &out))
			print_error("accepted: %.*s\n", TEXT_ARG(bad[i]));
		assert_int_equal(out.prefix, 77);
	}
}

static void contains(void **state)
{
	static const struct {
		const char *net, *address;
		bool inside;
	} rows[] = {
		{"192.0.2.0/24", "192.0.2.255", true},
		{"192.0.2.0/24", "192.0.3.0", false},
		{"192.0.2.128/25", "192.0.2.127", false},
		{"192.0.2.128/25", "192.0.2.128", true},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.6", false},
		{"0.0.0.0/0", "203.0.113.1", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::/0", "2001:db8::1", true},
		{"::/0", "192.0.2.1", true},
		{"2001:db8::/33", "2001:db8:7fff::", true},
		{"2001:db8::/33", "2001:db8:8000::", false},
		{"192.0.2.0/24", "::ffff:192.0.2.1", true},
		{"::/96", "192.0.2.1", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct network outer = net(rows[i].net), inner = net(rows[i].address);
		assert_int_equal(network_contains(&outer, &inner), rows[i].inside);
	}
}

static void sources(void **state)
{
	static const char *const rows[][2] = {{"192.0.2.77", "192.0.2.0/24"},
					      {"2001:db8:1:2::3", "2001:db8:1::/48"},
					      {"::ffff:10.1.2.3", "10.1.2.0/24"},
					      {"::1", "::/48"}};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char out[NETWORK_TEXT_MAX];
		struct network address = net(rows[i][0]), source = network_of_source(&address);
		network_print(&source, out);
		assert_string_equal(out, rows[i][1]);
	}
}

/* Whatever 20,000 random addresses look like, we agree with the C library on text and bytes. */
static void agrees_with_libc(void **state)
{
	unsigned seed = 4648;
	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct network n = {.prefix = 128}, back;
		char ours[NETWORK_TEXT_MAX], libc[INET6_ADDRSTRLEN];
		for (int i = 0; i < 8; i++) {
			unsigned group = (unsigned)rand_r(&seed);
			bool zero = group & 0x10000;
			n.address[2 * i] = zero ? 0 : (uint8_t)(group >> 8);
			n.address[2 * i + 1] = zero ? 0 : (uint8_t)group;
		}
		n.address[0] = 0x20; /* the C library dots ::a.b.c.d, RFC 5952 section 5 does not ask for it */
		network_print(&n, ours);
		assert_non_null(inet_ntop(AF_INET6, n.address, libc, sizeof libc));
		assert_string_equal(ours, libc);
		assert_null(network_parse(text_of(ours), &back));
		assert_memory_equal(back.address, n.address, 16);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prints_back), cmocka_unit_test(refused),          cmocka_unit_test(contains),
		cmocka_unit_test(sources),     cmocka_unit_test(agrees_with_libc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
