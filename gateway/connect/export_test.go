package connect

// ReadTicket returns the user of a ticket.
func ReadTicket(text string) (user string, ok bool) {
	t, ok := readTicket(text)
	return t.user, ok
}
