#ifndef CTL_CMD_H
#define CTL_CMD_H

/* The sub-commands' functions: the last column of the table in ctl/main.c. Each returns its exit status (sysexits.h)
 * after printing why it is not 0. cmd_NOUN.c has the functions of its noun. */

struct ctl;

typedef int command_run(struct ctl *ctl);

command_run cmd_customer_add, cmd_customer_list, cmd_customer_show, cmd_customer_set, cmd_customer_suspend,
	cmd_customer_resume, cmd_customer_remove;
command_run cmd_login_add, cmd_login_list, cmd_login_show, cmd_login_set, cmd_login_rotate, cmd_login_disable,
	cmd_login_enable, cmd_login_remove, cmd_login_allow, cmd_login_deny, cmd_login_forget;
command_run cmd_domain_add, cmd_domain_list, cmd_domain_show, cmd_domain_set, cmd_domain_remove, cmd_domain_records,
	cmd_domain_rotate, cmd_domain_check, cmd_domain_import_opendkim;
command_run cmd_limit_set, cmd_limit_list, cmd_limit_remove;
command_run cmd_suppress_add, cmd_suppress_list, cmd_suppress_remove, cmd_suppress_import, cmd_suppress_export;
command_run cmd_suppress_policy, cmd_suppress_brakes, cmd_suppress_release, cmd_suppress_brake_policy,
	cmd_suppress_domains, cmd_suppress_add_domain, cmd_suppress_remove_domain, cmd_suppress_domain_policy;
command_run cmd_endpoint_add, cmd_endpoint_list, cmd_endpoint_show, cmd_endpoint_set, cmd_endpoint_pause,
	cmd_endpoint_resume, cmd_endpoint_remove, cmd_endpoint_rotate_secret, cmd_endpoint_public_key,
	cmd_endpoint_test, cmd_endpoint_replay, cmd_endpoint_log;
command_run cmd_notice_send, cmd_notice_list;
command_run cmd_can, cmd_explain, cmd_trace, cmd_lag;
command_run cmd_classify, cmd_reclassify, cmd_rules_check;
command_run cmd_suppress_revert, cmd_retention_set, cmd_retention_list, cmd_retention_apply, cmd_gdpr_export,
	cmd_gdpr_erase;
command_run cmd_accounting_write, cmd_accounting_verify;
command_run cmd_directory_follow, cmd_directory_status, cmd_directory_verify;
command_run cmd_db_migrate, cmd_db_status;
command_run cmd_seal_init, cmd_seal_rotate;
command_run cmd_audit_list;

#endif
