#include "ctl/cmd.h"
#include "ctl/database.h"

int cmd_audit_list(struct ctl *ctl)
{
	return database_print(
		ctl, OUTPUT_LIST, "nothing is recorded",
		"SELECT * FROM (SELECT id, at, who, what, object, before, after FROM support.audit "
		"WHERE strpos(object, coalesce($1, '')) > 0 AND who = coalesce($2, who) "
		"AND at >= coalesce(waybill.point_in_time($3), at) "
		"ORDER BY id DESC LIMIT coalesce($4::bigint, 100)) AS last ORDER BY id",
		PARAMS(option(ctl, "object"), option(ctl, "who"), option(ctl, "since"), option(ctl, "last")));
}
