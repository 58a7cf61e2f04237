/* Any bytes as a record of each kind: no read out of bounds, and what decodes comes back the same. The first byte
 * chooses the kind. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/directory_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COMES_BACK(type)                                                    \
	do {                                                                \
		struct directory_##type value, again;                       \
		if (directory_##type##_decode(record, &value))              \
			break;                                              \
		directory_##type##_encode(&value, &first);                  \
		if (directory_##type##_decode(buffer_view(&first), &again)) \
			abort();                                            \
		directory_##type##_encode(&again, &second);                 \
		if (!text_equal(buffer_view(&first), buffer_view(&second))) \
			abort();                                            \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	enum directory_kind kind = (enum directory_kind)(data[0] % DIRECTORY_KIND_MAX);
	struct text record = text_at(data + 1, size - 1);
	struct buffer first = {0}, second = {0};
	directory_record_check(kind, record);
	switch (kind) {
	case DIRECTORY_CUSTOMERS: COMES_BACK(customer); break;
	case DIRECTORY_DOMAINS: COMES_BACK(domain); break;
	case DIRECTORY_LOGINS: COMES_BACK(login); break;
	case DIRECTORY_RELAY: COMES_BACK(relay); break;
	case DIRECTORY_SUPPRESSIONS: COMES_BACK(suppression); break;
	case DIRECTORY_STATE: COMES_BACK(state); break;
	case DIRECTORY_SENDERS: COMES_BACK(senders); break;
	case DIRECTORY_RETURN_PATHS: COMES_BACK(return_path); break;
	case DIRECTORY_KIND_MAX: break;
	}
	buffer_free(&first);
	buffer_free(&second);
	return 0;
}
