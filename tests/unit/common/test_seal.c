/* Secrets at rest: round trips, damage, other keys, other names, and who may read the key file. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/seal.h"

#define KEY_1 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_2 "FFeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static char folder[] = "/tmp/waybill-seal-XXXXXX", path[64];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof path, "%s/seal.key", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static void write_key_file(const char *content, mode_t mode)
{
	unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static struct seal *with_keys(const char *content)
{
	char *error = NULL;
	write_key_file(content, 0600);
	struct seal *seal = seal_open(path, &error);
	if (error)
		print_error("%s\n", error);
	assert_non_null(seal);
	assert_null(error);
	return seal;
}

static void refused(const char *content, mode_t mode, const char *why)
{
	char *error = NULL;
	if (content)
		write_key_file(content, mode);
	assert_null(seal_open(path, &error));
	assert_non_null(error);
	if (!strstr(error, why))
		print_error("%s\n", error);
	assert_int_equal(strncmp(error, path, strlen(path)), 0);
	assert_non_null(strstr(error, why));
	free(error);
}

static void round_trip(void **state)
{
	struct seal *seal = with_keys("# made by hand\n\n" KEY_1 "\n");
	static const struct text secrets[] = {TEXT(""), TEXT("x"), TEXT("-----BEGIN\0PRIVATE KEY-----")};
	(void)state;
	for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
		struct buffer sealed = {0}, again = {0}, secret = {0};
		assert_int_equal(seal_secret(seal, secrets[i], TEXT("dkim/acme"), &sealed), 0);
		assert_int_equal(sealed.len, 1 + 4 + 12 + secrets[i].len + 16);
		assert_int_equal(sealed.ptr[0], 1);
		assert_int_equal(seal_secret(seal, secrets[i], TEXT("dkim/acme"), &again), 0);
		assert_false(text_equal(buffer_view(&sealed), buffer_view(&again))); /* the nonce is fresh */
		assert_null(seal_unseal(seal, buffer_view(&sealed), TEXT("dkim/acme"), &secret));
		assert_true(text_equal(buffer_view(&secret), secrets[i]));
		assert_true(seal_is_current(seal, buffer_view(&sealed)));
		buffer_free(&sealed);
		buffer_free(&again);
		seal_wipe(&secret);
		assert_null(secret.ptr);
	}
	seal_close(&seal);
	assert_null(seal);
	seal_close(&seal);
}

/* AES-256-GCM by another implementation (python3-cryptography), key KEY_1, nonce 01 02 … 0c. */
static void golden(void **state)
{
	static const unsigned char sealed[] = {0x01, 0x63, 0x0d, 0xcd, 0x29, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06,
					       0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x64, 0xca, 0x29, 0xb0, 0x8f,
					       0xe6, 0x95, 0xf2, 0xba, 0x16, 0x3e, 0x75, 0x38, 0xa8, 0x32, 0x59,
					       0x7e, 0x94, 0x21, 0xe3, 0x2b, 0x48, 0xfb, 0x14};
	struct seal *seal = with_keys(KEY_1);
	struct buffer secret = {0};
	(void)state;
	assert_null(seal_unseal(seal, text_at(sealed, sizeof sealed), TEXT("dkim/acme"), &secret));
	assert_true(text_equal(buffer_view(&secret), TEXT("a secret")));
	seal_wipe(&secret);
	seal_close(&seal);
}

static void every_bit_counts(void **state)
{
	struct seal *seal = with_keys(KEY_1 "\n");
	struct buffer sealed = {0}, secret = {0};
	(void)state;
	assert_int_equal(seal_secret(seal, TEXT("top secret"), TEXT("a"), &sealed), 0);
	for (size_t i = 0; i < sealed.len * 8; i++) {
		sealed.ptr[i / 8] ^= (char)(1 << i % 8);
		assert_non_null(seal_unseal(seal, buffer_view(&sealed), TEXT("a"), &secret));
		sealed.ptr[i / 8] ^= (char)(1 << i % 8);
	}
	for (size_t len = 0; len < sealed.len; len++)
		assert_non_null(seal_unseal(seal, text_head(buffer_view(&sealed), len), TEXT("a"), &secret));
	assert_int_equal(secret.len, 0);
	assert_null(seal_unseal(seal, buffer_view(&sealed), TEXT("a"), &secret));
	buffer_free(&sealed);
	seal_wipe(&secret);
	seal_close(&seal);
}

static void bound_to_its_name(void **state)
{
	struct seal *seal = with_keys(KEY_1 "\n");
	struct buffer sealed = {0}, secret = {0};
	(void)state;
	assert_int_equal(seal_secret(seal, TEXT("s"), TEXT("acme"), &sealed), 0);
	assert_string_equal(seal_unseal(seal, buffer_view(&sealed), TEXT("acmf"), &secret),
			    "damaged, or sealed for another name");
	assert_non_null(seal_unseal(seal, buffer_view(&sealed), TEXT(""), &secret));
	assert_int_equal(secret.len, 0);
	sealed.len = 0;
	assert_int_equal(seal_secret(seal, TEXT("s"), (struct text){0}, &sealed), 0);
	assert_null(seal_unseal(seal, buffer_view(&sealed), (struct text){0}, &secret));
	buffer_free(&sealed);
	seal_wipe(&secret);
	seal_close(&seal);
}

static void rotates(void **state)
{
	struct buffer sealed = {0}, secret = {0};
	struct seal *seal = with_keys(KEY_1 "\n");
	(void)state;
	assert_int_equal(seal_secret(seal, TEXT("s"), TEXT("a"), &sealed), 0);
	seal_close(&seal);
	seal = with_keys(KEY_2 "\r\n  " KEY_1 "  \r\n");
	assert_null(seal_unseal(seal, buffer_view(&sealed), TEXT("a"), &secret));
	assert_false(seal_is_current(seal, buffer_view(&sealed)));
	sealed.len = 0;
	assert_int_equal(seal_secret(seal, TEXT("s"), TEXT("a"), &sealed), 0);
	assert_true(seal_is_current(seal, buffer_view(&sealed)));
	seal_close(&seal);
	seal = with_keys(KEY_1 "\n");
	assert_non_null(strstr(seal_unseal(seal, buffer_view(&sealed), TEXT("a"), &secret), "does not hold"));
	seal_close(&seal);
	buffer_free(&sealed);
	seal_wipe(&secret);
}

static void key_files(void **state)
{
	struct buffer many = {0};
	(void)state;
	unlink(path);
	refused(NULL, 0, "No such file");
	refused("", 0600, "no key");
	refused("# only words\n", 0600, "no key");
	refused(KEY_1 "0\n", 0600, "64 hex digits");
	refused("00\n", 0600, "64 hex digits");
	refused(KEY_1 "\nsecond key\n", 0600, "64 hex digits");
	refused(KEY_1 "\n", 0604, "others may read");
	refused(KEY_1 "\n", 0660, "group may write");
	for (int i = 0; i < 9; i++)
		buffer_text(&many, TEXT(KEY_1 "\n"));
	refused(buffer_string(&many), 0600, "more than 8 keys");
	for (int i = 0; i < 100; i++)
		buffer_text(&many, TEXT("# " KEY_1 "\n"));
	refused(buffer_string(&many), 0600, "too long");
	buffer_free(&many);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	refused(NULL, 0, "not a regular file");
	assert_int_equal(rmdir(path), 0);
}

static void group_of_root_may_read(void **state)
{
	char *error = NULL;
	(void)state;
	if (geteuid() != 0)
		skip();
	write_key_file(KEY_1 "\n", 0640);
	struct seal *seal = seal_open(path, &error);
	assert_non_null(seal);
	seal_close(&seal);
	assert_int_equal(chown(path, 65534, 65534), 0);
	refused(NULL, 0, "group may read");
}

static void creates(void **state)
{
	char first[80] = "", again[80] = "";
	struct stat st;
	(void)state;
	unlink(path);
	assert_int_equal(seal_create(path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(first, sizeof first, file));
	fclose(file);
	assert_int_equal(strlen(first), 65);
	errno = 0;
	assert_int_equal(seal_create(path), -1);
	assert_int_equal(errno, EEXIST);
	file = fopen(path, "re");
	assert_non_null(fgets(again, sizeof again, file));
	fclose(file);
	assert_string_equal(first, again);
	struct seal *seal = with_keys(first);
	seal_close(&seal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(golden),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(bound_to_its_name),
		cmocka_unit_test(rotates),
		cmocka_unit_test(key_files),
		cmocka_unit_test(group_of_root_may_read),
		cmocka_unit_test(creates),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
