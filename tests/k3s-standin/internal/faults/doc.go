// Package faults makes the stand-in fail on purpose: it crashes at a named
// stage, slows a stage down, makes it fail, answers API calls with errors,
// slows the disk below etcd, moves the clock that it reports, or signs
// certificates that expire soon. It is off unless the faults file exists.
//
// The file is /run/k3s-standin/faults (K3S_STANDIN_RUN names another folder).
// It holds one fault a line and is read again whenever it changes, so a fault
// can be put on and taken off while K3s runs. Empty lines and lines that begin
// with # say nothing. /run is emptied by a reboot, and the faults with it.
//
//	crash STAGE [how=kill|exit|panic] [after=N] [times=N]   N counts passings of the stage; times is 1 unless given
//	fail  STAGE [times=N] [TEXT...]                          the stage returns TEXT as its error
//	slow  STAGE DURATION [times=N]                           the stage takes that much longer
//	hold  STAGE                                              the stage waits until the line is gone
//	api   status=429|500|503 [share=0.5] [verb=GET] [path=/api/v1/secrets] [who=clients|all] [retry-after=1] [seed=N]
//	api   reset [share=0.5] [...]                            the connection is reset in place of an answer
//	disk  DURATION [every=1s]                                etcd cannot commit for DURATION, again and again
//	clock +DURATION|-DURATION                                offset of all times that this node reports
//	certs DURATION                                           certificates of administrator and nodes signed from now on live that long
//	image PATTERN MODE                                       as the annotation hmco-boot/simulate (package node), by image name
//
// A STAGE is one of the names in stages.go, or a pattern as of path.Match
// (encryption.*) that one of them matches. A line that cannot be read is a fault that would silently not
// happen: it is written to the file faults.errors beside it and logged. Every
// fault that fired is appended to the file hits, so that a test can tell that
// what it saw came from the fault it asked for.
package faults
