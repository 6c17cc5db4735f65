package pages

import "strings"

// A catalogue is all that the pages say in one language, except the refusals:
// their texts are in package refusal.
type catalogue struct {
	// Lang is the language's BCP 47 tag.
	Lang string
	// Gateway says who is speaking, below the app's name.
	Gateway string
	// NeedHelp stands before where to get help.
	NeedHelp string
	// TimeLayout is for time.Time.Format, in UTC.
	TimeLayout string

	ChooserTitle, ChooserText, ChooserEmpty string
	// SignInWith has a provider's label in it.
	SignInWith sentence
	// LastUsed marks where this browser signed in last.
	LastUsed string

	// SignedInAs has the user name in it, SignedInAt the provider's label and the
	// user name, NamelessAt the label alone.
	SignedInAs, SignedInAt, NamelessAt   sentence
	SignIn                               string
	Retry, SignInAsOther, OpenApp        string
	Reference, Details, SeenHere, SiteAt string

	SessionTitle                                          string
	Username, Name, Email, Roles, Groups, Template        string
	Provider, Since, Until, None, SignOut, LessThanMinute string
	// ShowAll has the number of a list's entries in it.
	ShowAll sentence
	// InDays, InHours and InMinutes have one number each in them.
	InDays, InHours, InMinutes sentence

	FormTitle, RepostTitle, RepostText, Continue string
	// FormText has a provider's label in it.
	FormText sentence

	LogoutTitle, StaySignedIn string
	// LogoutHere has the site in it; LogoutAt and LogoutNotAt the provider.
	LogoutHere, LogoutAt, LogoutNotAt sentence

	OtherTitle, OtherHint string
	// OtherAt has a provider's label in it.
	OtherAt sentence

	LeaveTitle string
	// LeaveText has a provider's label in it.
	LeaveText sentence

	LoggedOutTitle, LoggedOutHint, SignInAgain string
	// LoggedOutText has the site in it.
	LoggedOutText sentence
}

var english = catalogue{
	Lang:       "en",
	Gateway:    "Single sign-on",
	NeedHelp:   "Need help?",
	TimeLayout: "2 Jan 2006, 15:04 UTC",

	ChooserTitle: "Sign in",
	ChooserText:  "Choose the account that you want to use.",
	ChooserEmpty: "This site has no way to sign in yet. Tell your administrator.",
	SignInWith:   "Sign in with %s",
	LastUsed:     "Last used",

	SignedInAs:    "Signed in as %s",
	SignedInAt:    "You signed in at %s as %s.",
	NamelessAt:    "You signed in at %s.",
	SignIn:        "Sign in",
	Retry:         "Try again",
	SignInAsOther: "Sign in as somebody else",
	OpenApp:       "Open the application",
	Reference:     "Reference",
	Details:       "Error",
	SeenHere:      "Opened at",
	SiteAt:        "Site",

	SessionTitle:   "You are signed in",
	Username:       "User name",
	Name:           "Name",
	Email:          "E-mail",
	Roles:          "Roles",
	Groups:         "Groups",
	Template:       "Template",
	Provider:       "Provider",
	Since:          "Since",
	Until:          "Until",
	None:           "none",
	SignOut:        "Sign out",
	ShowAll:        "Show all %s",
	InDays:         "in about %s days",
	InHours:        "in about %s hours",
	InMinutes:      "in about %s minutes",
	LessThanMinute: "in less than two minutes",

	FormTitle:   "Continue to sign in",
	FormText:    "You are being sent to %s to sign in. If nothing happens, press Continue.",
	RepostTitle: "Signing you in",
	RepostText:  "Your sign-in is almost complete. If nothing happens, press Continue.",
	Continue:    "Continue",

	LogoutTitle:  "Sign out?",
	StaySignedIn: "Stay signed in",
	LogoutHere:   "This ends your session at %s.",
	LogoutAt:     "It also ends your session at %s.",
	LogoutNotAt:  "Your session at %s stays open, so the next sign-in may not ask for your password.",

	OtherTitle: "Sign in as somebody else?",
	OtherHint:  "If you did not ask for this, stay signed in.",
	OtherAt:    "Then you sign in at %s.",

	LeaveTitle: "Signing you out",
	LeaveText:  "Your session here has ended, and you are being sent to %s to end your session there. If nothing happens, press Continue.",

	LoggedOutTitle: "You are signed out",
	LoggedOutHint:  "On a shared computer, close the browser as well.",
	SignInAgain:    "Sign in again",
	LoggedOutText:  "Your session at %s has ended.",
}

// A sentence has values in it, where "%s" stands. Templates write text and
// values in turn, so that each value has markup of its own and is escaped where it
// stands.
type sentence string

// A filled is a sentence with its values.
type filled struct {
	sentence
	values []string
}

// A part is a piece of a sentence: text, and the value that follows it.
type part struct{ Text, Value string }

// Parts returns the sentence up to its last value.
func (f filled) Parts() []part {
	texts := strings.Split(string(f.sentence), "%s")
	parts := make([]part, len(f.values))
	for i, value := range f.values {
		parts[i] = part{texts[i], value}
	}
	return parts
}

// Rest returns what follows the last value.
func (f filled) Rest() string {
	return string(f.sentence[strings.LastIndex(string(f.sentence), "%s")+len("%s"):])
}
