#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "common/digest.h"
#include "common/encode.h"
#include "common/memory.h"
#include "common/seal.h"

#define SEAL_VERSION   1
#define SEAL_KEY_BYTES 32 /* AES-256 */
#define SEAL_ID_BYTES  4
#define SEAL_NONCE     12 /* NIST SP 800-38D section 8.2.2: 96 random bits */
#define SEAL_TAG       16
#define SEAL_OVERHEAD  (1 + SEAL_ID_BYTES + SEAL_NONCE + SEAL_TAG)
#define SEAL_MAX_FILE  4096

struct seal_key {
	unsigned char bytes[SEAL_KEY_BYTES], id[SEAL_ID_BYTES];
};

struct seal {
	struct seal_key keys[SEAL_MAX_KEYS];
	size_t count;
};

static void set_error(char **error, const char *path, const char *why)
{
	struct buffer text = {0};
	buffer_format(&text, "%s: %s", path, why);
	*error = text_copy(buffer_view(&text));
	buffer_free(&text);
}

void seal_wipe(struct buffer *secret)
{
	if (secret->ptr)
		OPENSSL_cleanse(secret->ptr, secret->cap);
	buffer_free(secret);
}

void seal_close(struct seal **seal)
{
	if (!*seal)
		return;
	OPENSSL_cleanse(*seal, sizeof **seal);
	free(*seal);
	*seal = NULL;
}

size_t seal_keys(const struct seal *seal, struct text out[SEAL_MAX_KEYS])
{
	for (size_t i = 0; i < seal->count; i++)
		out[i] = text_at(seal->keys[i].bytes, SEAL_KEY_BYTES);
	return seal->count;
}

static const char *add_key(struct seal *seal, struct text line)
{
	unsigned char digest[32];
	struct buffer bytes = {0};
	const char *why = NULL;

	if (seal->count == SEAL_MAX_KEYS)
		return "more than 8 keys";
	if (encode_hex_decode(line, &bytes) || bytes.len != SEAL_KEY_BYTES) {
		why = "a line is not a key of 64 hex digits";
	} else {
		struct seal_key *key = &seal->keys[seal->count++];
		memcpy(key->bytes, bytes.ptr, SEAL_KEY_BYTES);
		digest_sha256(buffer_view(&bytes), digest);
		memcpy(key->id, digest, SEAL_ID_BYTES);
	}
	seal_wipe(&bytes);
	return why;
}

static const char *add_keys(struct seal *seal, struct text file)
{
	struct text line;
	const char *why = NULL;
	while (!why && text_take(&file, '\n', &line)) {
		line = text_trim(line);
		if (line.len && line.ptr[0] != '#')
			why = add_key(seal, line);
	}
	return why ? why : seal->count ? NULL : "holds no key; make one with: waybill seal init";
}

static const char *check_file(int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "not a regular file";
	if (st.st_mode & (S_IRWXO | S_IWGRP))
		return "others may read it or its group may write it; chmod 640 it";
	if (st.st_mode & S_IRGRP && st.st_uid != 0)
		return "its group may read it, which is fine only for root's files; chmod 600 it";
	return NULL;
}

struct seal *seal_open(const char *path, char **error)
{
	char file[SEAL_MAX_FILE];
	struct seal *seal = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	const char *why = fd < 0 ? strerror(errno) : check_file(fd);
	ssize_t len = why ? 0 : read(fd, file, sizeof file);

	if (!why && len < 0)
		why = strerror(errno);
	if (len == sizeof file)
		why = "too long for a key file";
	if (!why) {
		seal = memory_zero(1, sizeof *seal);
		why = add_keys(seal, text_at(file, (size_t)len));
	}
	OPENSSL_cleanse(file, sizeof file);
	if (fd >= 0)
		close(fd);
	if (why) {
		set_error(error, path, why);
		seal_close(&seal);
	}
	return seal;
}

static int write_all(int fd, struct text t)
{
	while (t.len) {
		ssize_t wrote = write(fd, t.ptr, t.len);
		if (wrote < 0)
			return -1;
		t = text_from(t, (size_t)wrote);
	}
	return fsync(fd);
}

int seal_create(const char *path)
{
	unsigned char key[SEAL_KEY_BYTES];
	struct buffer line = {0};
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return -1;
	digest_random(key, sizeof key);
	encode_hex(text_at(key, sizeof key), &line);
	buffer_char(&line, '\n');
	int status = write_all(fd, buffer_view(&line));
	int saved = errno;
	close(fd);
	if (status != 0)
		unlink(path);
	OPENSSL_cleanse(key, sizeof key);
	seal_wipe(&line);
	errno = saved;
	return status;
}

int seal_secret(const struct seal *seal, struct text secret, struct text associated, struct buffer *out)
{
	const struct seal_key *key = &seal->keys[0];
	unsigned char nonce[SEAL_NONCE], tag[SEAL_TAG];
	unsigned char *sealed = memory_new(secret.len + 1);
	EVP_CIPHER_CTX *aes = EVP_CIPHER_CTX_new();
	int len = 0, rest = 0;

	if (secret.len > INT32_MAX - SEAL_OVERHEAD || associated.len > INT32_MAX)
		abort();
	digest_random(nonce, sizeof nonce);
	bool ok = aes && EVP_EncryptInit_ex(aes, EVP_aes_256_gcm(), NULL, key->bytes, nonce) == 1 &&
		  EVP_EncryptUpdate(aes, NULL, &len, (const unsigned char *)associated.ptr, (int)associated.len) == 1 &&
		  EVP_EncryptUpdate(aes, sealed, &len, (const unsigned char *)secret.ptr, (int)secret.len) == 1 &&
		  EVP_EncryptFinal_ex(aes, sealed + len, &rest) == 1 &&
		  EVP_CIPHER_CTX_ctrl(aes, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, tag) == 1;
	if (ok) {
		buffer_char(out, SEAL_VERSION);
		buffer_add(out, key->id, SEAL_ID_BYTES);
		buffer_add(out, nonce, SEAL_NONCE);
		buffer_add(out, sealed, secret.len);
		buffer_add(out, tag, SEAL_TAG);
	}
	EVP_CIPHER_CTX_free(aes);
	free(sealed);
	return ok ? 0 : -1;
}

static const struct seal_key *key_of(const struct seal *seal, struct text sealed)
{
	for (size_t i = 0; i < seal->count; i++)
		if (sealed.len >= SEAL_OVERHEAD && memcmp(sealed.ptr + 1, seal->keys[i].id, SEAL_ID_BYTES) == 0)
			return &seal->keys[i];
	return NULL;
}

static bool decrypt(const struct seal_key *key, struct text sealed, struct text associated, unsigned char *out)
{
	struct text nonce = text_from(sealed, 1 + SEAL_ID_BYTES);
	struct text body = text_head(text_from(nonce, SEAL_NONCE), sealed.len - SEAL_OVERHEAD);
	unsigned char tag[SEAL_TAG];
	EVP_CIPHER_CTX *aes = EVP_CIPHER_CTX_new();
	int len = 0, rest = 0;

	memcpy(tag, sealed.ptr + sealed.len - SEAL_TAG, SEAL_TAG);
	bool ok = aes &&
		  EVP_DecryptInit_ex(aes, EVP_aes_256_gcm(), NULL, key->bytes, (const unsigned char *)nonce.ptr) == 1 &&
		  EVP_DecryptUpdate(aes, NULL, &len, (const unsigned char *)associated.ptr, (int)associated.len) == 1 &&
		  EVP_DecryptUpdate(aes, out, &len, (const unsigned char *)body.ptr, (int)body.len) == 1 &&
		  EVP_CIPHER_CTX_ctrl(aes, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, tag) == 1 &&
		  EVP_DecryptFinal_ex(aes, out + len, &rest) == 1;
	EVP_CIPHER_CTX_free(aes);
	return ok;
}

const char *seal_unseal(const struct seal *seal, struct text sealed, struct text associated, struct buffer *out)
{
	if (sealed.len < SEAL_OVERHEAD || sealed.ptr[0] != SEAL_VERSION)
		return "not a sealed secret";
	const struct seal_key *key = key_of(seal, sealed);
	if (!key)
		return "sealed under a key that the key file does not hold";
	size_t len = sealed.len - SEAL_OVERHEAD;
	unsigned char *secret = memory_new(len + 1);
	const char *why = decrypt(key, sealed, associated, secret) ? NULL : "damaged, or sealed for another name";
	if (!why)
		buffer_add(out, secret, len);
	OPENSSL_cleanse(secret, len + 1);
	free(secret);
	return why;
}

bool seal_is_current(const struct seal *seal, struct text sealed)
{
	return key_of(seal, sealed) == &seal->keys[0];
}
