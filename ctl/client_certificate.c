#include "ctl/client_certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

/* OpenSSL would ask the terminal. */
static int no_passphrase(char *out, int size, int writing, void *cookie)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)cookie;
	return -1;
}

const char *client_certificate_check(struct text pem)
{
	BIO *first = BIO_new_mem_buf(pem.ptr, (int)pem.len), *second = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	X509 *certificate = PEM_read_bio_X509(first, NULL, no_passphrase, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(second, NULL, no_passphrase, NULL);
	const char *why = NULL;
	if (!certificate)
		why = "there is no certificate in it (PEM)";
	else if (!key)
		why = "there is no private key without a passphrase in it (PEM)";
	else if (X509_check_private_key(certificate, key) != 1)
		why = "the private key is not that of the first certificate";
	X509_free(certificate);
	EVP_PKEY_free(key);
	BIO_free(first);
	BIO_free(second);
	ERR_clear_error();
	return why;
}
