package pages

import "strings"

// texts are all that the pages say, except the refusals: their texts are in package
// refusal. The title of a page bears the name of its type.
var texts = map[string]sentence{
	"Lang":       "en",                    // the BCP 47 tag
	"Gateway":    "Single sign-on",        // who is speaking, below the app's name
	"NeedHelp":   "Need help?",            // before where to get help
	"TimeLayout": "2 Jan 2006, 15:04 UTC", // for time.Time.Format, in UTC

	"ChooserTitle": "Sign in",
	"ChooserText":  "Choose the account that you want to use.",
	"ChooserEmpty": "This site has no way to sign in yet. Tell your administrator.",
	"SignInWith":   "Sign in with %s",
	"LastUsed":     "Last used", // where this browser signed in last

	"SignedInAs":    "Signed in as %s",
	"SignedInAt":    "You signed in at %s as %s.",
	"NamelessAt":    "You signed in at %s.",
	"SignIn":        "Sign in",
	"Retry":         "Try again",
	"SignInAsOther": "Sign in as somebody else",
	"OpenApp":       "Open the application",
	"Reference":     "Reference",
	"Details":       "Error",
	"SeenHere":      "Opened at",
	"SiteAt":        "Site",

	"SessionTitle":   "You are signed in",
	"Username":       "User name",
	"Name":           "Name",
	"Email":          "E-mail",
	"Roles":          "Roles",
	"Groups":         "Groups",
	"Template":       "Template",
	"Provider":       "Provider",
	"Since":          "Since",
	"Until":          "Until",
	"None":           "none",
	"SignOut":        "Sign out",
	"ShowAll":        "Show all %s",
	"InDays":         "in about %s days",
	"InHours":        "in about %s hours",
	"InMinutes":      "in about %s minutes",
	"LessThanMinute": "in less than two minutes",

	"FormTitle":   "Continue to sign in",
	"FormText":    "You are being sent to %s to sign in. If nothing happens, press Continue.",
	"RepostTitle": "Signing you in",
	"RepostText":  "Your sign-in is almost complete. If nothing happens, press Continue.",
	"Continue":    "Continue",

	"LogoutTitle":  "Sign out?",
	"StaySignedIn": "Stay signed in",
	"Application":  "Application",
	"LogoutHere":   "This ends your session at %s.",
	"LogoutAt":     "It also ends your session at %s.",
	"LogoutNotAt":  "Your session at %s stays open, so the next sign-in may not ask for your password.",

	"OtherTitle": "Sign in as somebody else?",
	"OtherHint":  "If you did not ask for this, stay signed in.",
	"OtherAt":    "Then you sign in at %s.",

	"LeaveTitle": "Signing you out",
	"LeaveText":  "Your session here has ended, and you are being sent to %s to end your session there. If nothing happens, press Continue.",

	"LeaveBack": "Your session here has ended, and you are being sent back to %s. If nothing happens, press Continue.",

	"LoggedOutTitle": "You are signed out",
	"LoggedOutHint":  "On a shared computer, close the browser as well.",
	"SignInAgain":    "Sign in again",
	"LoggedOutText":  "Your session at %s has ended.",
}

// A sentence has values in it, where "%s" stands. Templates write text and
// values in turn, so that each value has markup of its own and is escaped where it
// stands.
type sentence string

// A part is a piece of a sentence: text, and the value that follows it.
type part struct{ Text, Value string }

// fill returns the parts of a sentence with its values.
func fill(s sentence, values ...string) (parts []part) {
	for i, text := range strings.Split(string(s), "%s") {
		parts = append(parts, part{Text: text})
		if i < len(values) {
			parts[i].Value = values[i]
		}
	}
	return parts
}
