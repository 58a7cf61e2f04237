#include "ctl/endpoint_seal.h"

#include <stdlib.h>
#include <sysexits.h>

#include "common/seal.h"
#include "ctl/database.h"

int endpoint_seal(struct ctl *ctl, const char *customer, const char *endpoint, const char *kind, struct text text,
		  struct buffer *param)
{
	char *error = NULL;
	struct buffer associated = {0}, sealed = {0};
	struct seal *seal = seal_open(ctl->settings.webhook_key, &error);
	if (!seal) {
		int status = complain(EX_CONFIG, "waybill seal init, or run this as the account that may read the key",
				      "nothing can be sealed: %s", error);
		free(error);
		return status;
	}
	buffer_format(&associated, "%s %s%s", customer, endpoint, kind);
	if (seal_secret(seal, text, buffer_view(&associated), &sealed))
		abort();
	pg_bytea_param(buffer_view(&sealed), param);
	buffer_free(&associated);
	buffer_free(&sealed);
	seal_close(&seal);
	return 0;
}
