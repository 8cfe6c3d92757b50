package datastore

import (
	"strings"
	"testing"
)

func TestTheKeyIsTheHashOfThePassword(t *testing.T) {
	if got := BootstrapKey("secret"); got != "/bootstrap/2bb80d537b1d" {
		t.Errorf("got %s", got)
	}
}

func TestOnlyThePasswordThatSealedItOpensARecord(t *testing.T) {
	sealed, err := Seal("right", []byte("record"))
	if err != nil {
		t.Fatal(err)
	}
	if salt, _, ok := strings.Cut(sealed, ":"); !ok || len(salt) != 16 || strings.Contains(sealed, "record") {
		t.Errorf("sealed: %s", sealed)
	}
	if got, err := Unseal("right", sealed); err != nil || string(got) != "record" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := Unseal("wrong", sealed); err == nil {
		t.Error("opened with another password")
	}
}
