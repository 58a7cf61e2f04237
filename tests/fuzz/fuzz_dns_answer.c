/* Any bytes as a DNS message; the first byte chooses the type. And as a DMARC record and a DKIM key record. */

#include <stdint.h>
#include <stdlib.h>

#include "ctl/dkim_record.h"
#include "ctl/dmarc.h"
#include "ctl/dns_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = {DNS_A, DNS_NS, DNS_CNAME, DNS_PTR, DNS_MX, DNS_TXT, DNS_AAAA};
	struct dns_records records = {0};
	struct dmarc dmarc;
	if (!size)
		return 0;
	struct text rest = text_at(data + 1, size - 1);
	dns_answer_parse(rest, types[data[0] % (sizeof(types) / sizeof(*types))], &records);
	for (size_t i = 0; i < records.count; i++)
		dkim_record_compare(dns_record(&records, i), DIRECTORY_RSA_SHA256, TEXT("x"));
	if (!dmarc_parse(rest, &dmarc))
		dmarc_next_step(&dmarc);
	dkim_record_compare(rest, DIRECTORY_ED25519_SHA256, TEXT("x"));
	dns_records_free(&records);
	return 0;
}
