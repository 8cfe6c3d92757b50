package supervisor

import (
	"encoding/json"
	"net/http"

	"hmco-boot/k3s-standin/internal/logx"
)

// status is a Kubernetes Status as K3s' own calls send it (without apiVersion).
type status struct {
	Message string
	Reason  string
	Cause   string
	Code    int
}

// SendError answers as K3s does: a Status object, and a log line "Sending HTTP/1.1 CODE response to ADDR: ERR".
func SendError(err error, w http.ResponseWriter, r *http.Request, code int) {
	logx.Errorf("Sending %s %d response to %s: %v", r.Proto, code, r.RemoteAddr, err)
	st := status{Message: err.Error(), Code: code}
	switch code {
	case http.StatusBadRequest:
		st.Reason = "BadRequest"
	case http.StatusUnauthorized:
		st.Reason = "Unauthorized"
	case http.StatusForbidden:
		st.Reason = "Forbidden"
	case http.StatusNotFound:
		st.Reason = "NotFound"
	case http.StatusMethodNotAllowed:
		st.Reason = "MethodNotAllowed"
	case http.StatusServiceUnavailable:
		st.Reason = "ServiceUnavailable"
	default:
		st.Reason, st.Cause = "InternalError", err.Error()
		st.Message = "Internal error occurred: " + err.Error()
		st.Code = http.StatusInternalServerError
	}
	writeStatus(w, st)
}

func writeStatus(w http.ResponseWriter, st status) {
	type cause struct {
		Message string `json:"message"`
	}
	type details struct {
		Causes []cause `json:"causes"`
	}
	body := struct {
		Kind     string   `json:"kind"`
		Metadata struct{} `json:"metadata"`
		Status   string   `json:"status"`
		Message  string   `json:"message"`
		Reason   string   `json:"reason"`
		Details  *details `json:"details,omitempty"`
		Code     int      `json:"code"`
	}{Kind: "Status", Status: "Failure", Message: st.Message, Reason: st.Reason, Code: st.Code}
	if st.Cause != "" {
		body.Details = &details{Causes: []cause{{Message: st.Cause}}}
	}
	text, _ := json.MarshalIndent(body, "", "  ")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(st.Code)
	_, _ = w.Write(text)
}

// WriteJSON answers 200 with one line of JSON.
func WriteJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
