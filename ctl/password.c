#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "common/encode.h"
#include "ctl/password.h"

#define PASSWORD_BYTES 20
/* bcrypt's cost is for guessable passwords; applications that connect for each mail pay it each time. */
#define BCRYPT_PREFIX "$2b$"
#define BCRYPT_COST   5

void password_make(char password[PASSWORD_SIZE], char hash[PASSWORD_HASH_SIZE])
{
	unsigned char secret[PASSWORD_BYTES], salt_bytes[16];
	struct buffer text = {0};
	struct crypt_data data;
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	digest_random(secret, sizeof(secret));
	digest_random(salt_bytes, sizeof(salt_bytes));
	encode_base32(text_at(secret, sizeof(secret)), &text);
	text_put(buffer_view(&text), password, PASSWORD_SIZE);
	memset(&data, 0, sizeof(data));
	if (!crypt_gensalt_rn(BCRYPT_PREFIX, BCRYPT_COST, (const char *)salt_bytes, sizeof(salt_bytes), salt,
			      sizeof(salt)))
		abort();
	const char *hashed = crypt_r(password, salt, &data);
	/* libxcrypt answers a failure with a text that begins with "*". */
	if (!hashed || *hashed == '*')
		abort();
	text_put(text_of(hashed), hash, PASSWORD_HASH_SIZE);
	explicit_bzero(secret, sizeof(secret));
	explicit_bzero(&data, sizeof(data));
	explicit_bzero(text.ptr, text.len);
	buffer_free(&text);
}
