/* raw_sign rsa|ed25519 KEY-FILE SECONDS: the CPU time of one signature with a parsed key, nothing else, in microseconds.
 * KEY-FILE holds base64 of DER. What a signer cannot avoid. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/encode.h"

#include "milter/signer.h"

static double cpu_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	char text[4096];
	const char *why = "no base64";
	struct buffer der = {0}, out = {0};
	FILE *file = argc == 4 ? fopen(argv[2], "r") : NULL;
	if (!file)
		return 64;
	size_t len = fread(text, 1, sizeof text, file);
	fclose(file);
	enum directory_key_algorithm algorithm =
		strcmp(argv[1], "rsa") == 0 ? DIRECTORY_RSA_SHA256 : DIRECTORY_ED25519_SHA256;
	struct signer_key *key = NULL;
	if (!encode_base64_decode(text_at(text, len), &der))
		key = signer_key_parse(algorithm, buffer_view(&der), TEXT(""), &why);
	if (!key) {
		fprintf(stderr, "%s: %s\n", argv[2], why);
		return 1;
	}
	double seconds = strtod(argv[3], NULL), began = cpu_s();
	long count = 0;
	for (; cpu_s() - began < seconds; count++) {
		out.len = 0;
		if (signer_sign(key, text_at(&count, sizeof count), &out) != 0)
			return 1;
	}
	printf("%.2f\n", (cpu_s() - began) * 1e6 / (double)count);
	signer_key_free(&key);
	buffer_free(&der);
	buffer_free(&out);
	return 0;
}
