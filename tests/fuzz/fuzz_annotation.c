/* Any X-Waybill-Metadata: no crash, and what is taken is bounded and stands on one line of printable ASCII. */

#include <stdlib.h>
#include <string.h>

#include "milter/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct record_annotation *annotation)
{
	if (annotation->tag.len > RECORD_MAX_TAG || annotation->metadata.len > RECORD_MAX_METADATA)
		abort();
	for (size_t i = 0; i < annotation->metadata.len; i++) {
		char c = annotation->metadata.ptr[i];
		if (c != '\t' && (c < 0x20 || c > 0x7e))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fields fields = {0};
	struct record_annotation annotation = {0};
	fields_add(&fields, TEXT("X-Waybill-Tag"), text_at(data, size % 256 < size ? size % 256 : size));
	fields_add(&fields, TEXT("X-Waybill-Metadata"), text_at(data, size));
	if (!record_annotation(&fields, &annotation))
		check(&annotation);
	buffer_free(&annotation.metadata);
	fields_clear(&fields);
	fields_add(&fields, TEXT("X-Waybill-Metadata"), text_at(data, size));
	if (!record_annotation(&fields, &annotation))
		check(&annotation);
	buffer_free(&annotation.metadata);
	fields_free(&fields);
	return 0;
}
