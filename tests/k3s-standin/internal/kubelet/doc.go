// Package kubelet simulates a kubelet: it registers a Node, renews its lease,
// brings the pods that are bound to the Node through the states that a real
// kubelet would report, and answers logs, exec and statistics on port 10250.
// No image is pulled and no process runs. What a pod needs from the API is
// checked for real: a Secret, ConfigMap or PersistentVolumeClaim that is
// missing holds the pod up with the reason and event of a real kubelet.
//
// What cannot be known without running the image is assumed to go well: images
// can be pulled, servers run for ever, probes succeed after their first delay,
// and a container of a pod that is not restarted (restartPolicy Never or
// OnFailure, as in Jobs) exits with 0 after a second, or after N seconds when
// its command is `sleep N`. The annotation hmco-boot/simulate on the pod, or
// hmco-boot/simulate.CONTAINER for one container, says otherwise (modes
// separated by commas):
//
//	pull-fails[=N]    the image cannot be pulled (the first N times)
//	crash[=N]         the container exits with 1 soon after its start (the first N times)
//	exit=CODE         the exit code of a container that ends
//	oom               as crash, killed for its memory
//	not-ready         the readiness probe never succeeds
//	ready-after=5s    the readiness probe succeeds that long after the start
//	runs=30s          the container ends after that time
//	creating          the container is never created
//
// The fault `image PATTERN MODE` (package faults) does the same by the image's
// name. The annotation hmco-boot/logs gives a container's log in place of the
// one line that says it is simulated, and hmco-boot/exec a JSON list of answers
// to exec: [{"command": "regular expression", "stdout": "", "stderr": "", "exit": 0}].
package kubelet
