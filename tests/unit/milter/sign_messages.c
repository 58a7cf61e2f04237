/* sign-messages FIRST COUNT: random messages, signed with both algorithms, each behind a line with its length in bytes. */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "signing.h"

int main(int argc, char **argv)
{
	struct signing_keys keys;
	if (argc != 3)
		return 64;
	uint64_t first = strtoull(argv[1], NULL, 10), count = strtoull(argv[2], NULL, 10);
	signing_open(&keys);
	for (uint64_t i = first; i < first + count; i++) {
		struct buffer message = {0}, out = {0};
		signing_generate(i, false, &message);
		struct signing_request request = {.message = buffer_view(&message),
						  .profile = (enum directory_header_profile)(i % DIRECTORY_PROFILE_MAX),
						  .algorithms = 3,
						  .signed_at = time(NULL)};
		signing_sign(&keys, &request, &out);
		buffer_text(&out, buffer_view(&message));
		printf("%zu\n", out.len);
		fwrite(out.ptr, 1, out.len, stdout);
		buffer_free(&message);
		buffer_free(&out);
	}
	signing_close(&keys);
	return 0;
}
