#ifndef CTL_PASSWORD_H
#define CTL_PASSWORD_H

/* Passwords of logins: made here, never chosen: 160 bits of chance make them strong, so the hash need not be slow. */

#define PASSWORD_SIZE      33 /* 32 characters of base32 hold 160 bits */
#define PASSWORD_HASH_SIZE 128

/* A new password, and its hash in crypt(3)'s form (bcrypt), as Dovecot reads it behind {CRYPT}. */
void password_make(char password[PASSWORD_SIZE], char hash[PASSWORD_HASH_SIZE]);

#endif
