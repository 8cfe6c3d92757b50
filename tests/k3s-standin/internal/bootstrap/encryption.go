package bootstrap

import "sync/atomic"

var withoutEncryption atomic.Bool

// Encryption says whether secrets-encryption is on: without it the record's EncryptionConfig and EncryptionHash have no
// place on disk ("Unable to lookup path to reconcile ..."), and what lies there is not collected.
func Encryption(on bool) { withoutEncryption.Store(!on) }
