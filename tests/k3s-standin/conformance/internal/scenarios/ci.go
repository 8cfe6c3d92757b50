package scenarios

// CI is the fixed choice for continuous integration: one file for each topic that one or two nodes can show, and of
// those with several nodes the parts that are quick.
var CI = []string{
	"01-first-start", "04-etcd-snapshot", "05-restore-bad-files", "06-tokens-joins", "09-config-errors",
}
