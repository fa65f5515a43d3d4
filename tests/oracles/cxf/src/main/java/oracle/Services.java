package oracle;

import jakarta.jws.WebService;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Base64;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import javax.xml.namespace.QName;
import org.apache.cxf.binding.soap.Soap12;
import org.apache.cxf.binding.soap.SoapFault;

/** Which accounts there are and what each of them meets. What is on the wire is CXF's. */
final class Services {
    static final String CUSTOMER_KEY = "ORCL1";
    static final String USER_KEY = "UKEY0RACLE01";
    static final String PASSWORD = "right-Pa55!word";
    // Signs that a careless writer or reader of XML changes.
    static final String ODD_NAME = "svc-odd \u00fc\u6f22\ud83d\udd11 a&b<c>\"d'";
    static final String ODD_PASSWORD =
            "]]> <![CDATA[x]]> & < > \" ' &amp; &#65; \u00e9\u20ac\u00df  two blanks %41 \\n {0} $x";

    private static final String SECURITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
    private static final Map<String, String> SESSIONS = new ConcurrentHashMap<>();

    private static PrintStream log;

    private Services() {}

    static void open(Path path) {
        try {
            log = new PrintStream(
                    Files.newOutputStream(path, StandardOpenOption.CREATE, StandardOpenOption.APPEND), true, StandardCharsets.UTF_8);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** One line a call, with each value in base64: what came, to the letter, whatever it was. */
    static synchronized void call(String operation, String... values) {
        StringBuilder line = new StringBuilder(operation);
        for (int at = 0; at < values.length; at += 2) {
            line.append(' ').append(values[at]);
            String value = values[at + 1];
            if (value == null) {
                line.append(":null");
            } else {
                line.append('=').append(Base64.getEncoder().encodeToString(value.getBytes(StandardCharsets.UTF_8)));
            }
        }
        log.println(line);
    }

    /** The account that a token and a key are of, or null. */
    static String account(String token, String clientAccessKey) {
        return token != null && CUSTOMER_KEY.equals(clientAccessKey) ? SESSIONS.get(token) : null;
    }

    /** A fault of the sender: what CXF has for a service to throw. */
    static SoapFault fault(String reason) {
        return new SoapFault(reason, Soap12.getInstance().getSender());
    }

    static SoapFault refusal(String reason) {
        SoapFault fault = fault(reason);
        fault.addSubCode(new QName(SECURITY, "FailedAuthentication"));
        return fault;
    }

    @WebService(endpointInterface = "oracle.Contracts$LoginService", targetNamespace = Contracts.LOGIN)
    public static class Login implements Contracts.LoginService {
        @Override
        public Contracts.TokenResponse authenticate(
                Contracts.TokenRequest request, String clientAccessKey, String password, String userAccessKey, String userName) {
            call("Authenticate", "ClientAccessKey", clientAccessKey, "Password", password, "UserAccessKey", userAccessKey,
                    "UserName", userName);
            switch (userName == null ? "" : userName) {
                case "svc-login-exception" -> throw new IllegalStateException("thrown in the login");
                case "svc-login-security-exception" -> throw new SecurityException("Access is denied.");
                case "svc-login-fault" -> throw refusal("Access is denied.");
                case "svc-login-bare-fault" -> throw fault("User authentication failed");
                default -> { }
            }
            if (!CUSTOMER_KEY.equals(clientAccessKey)) {
                return failed("There was a problem with the authentication process");
            }
            String right = ODD_NAME.equals(userName) ? ODD_PASSWORD : PASSWORD;
            if (userName == null || !userName.startsWith("svc-") || !right.equals(password) || !USER_KEY.equals(userAccessKey)) {
                return failed("User authentication failed");
            }
            Contracts.TokenResponse response = new Contracts.TokenResponse();
            response.status = Contracts.Status.Ok;
            response.token = UUID.randomUUID().toString();
            SESSIONS.put(response.token, userName);
            return response;
        }

        private static Contracts.TokenResponse failed(String message) {
            Contracts.TokenResponse response = new Contracts.TokenResponse();
            response.status = Contracts.Status.Failed;
            response.statusMessage = message;
            return response;
        }
    }

    @WebService(endpointInterface = "oracle.Contracts$EmployeePerson", targetNamespace = Contracts.PERSON)
    public static class Person implements Contracts.EmployeePerson {
        @Override
        public Contracts.FindResponse findPeople(Contracts.EmployeeQuery query, String token, String clientAccessKey) {
            String account = query("FindPeople", query, token, clientAccessKey);
            switch (account) {
                case "svc-person-fault" -> throw refusal("Access is denied.");
                case "svc-person-exception" -> throw new IllegalStateException("thrown in the query");
                case "svc-person-security-exception" -> throw new SecurityException("Access is denied.");
                case "svc-person-words" -> {
                    return denial();
                }
                default -> {
                    return found(account);
                }
            }
        }
    }

    @WebService(endpointInterface = "oracle.Contracts$EmployeeJob", targetNamespace = Contracts.JOB)
    public static class Job implements Contracts.EmployeeJob {
        @Override
        public Contracts.FindResponse findJobs(Contracts.EmployeeQuery query, String token, String clientAccessKey) {
            return found(query("FindJobs", query, token, clientAccessKey));
        }
    }

    private static String query(String operation, Contracts.EmployeeQuery query, String token, String clientAccessKey) {
        boolean none = query == null;
        call(operation, "ClientAccessKey", clientAccessKey, "UltiProToken", token,
                "EmployeeNumber", none ? "no query" : query.employeeNumber,
                "IncludeInactive", none || query.includeInactive == null ? null : query.includeInactive.toString(),
                "PageNumber", none ? null : query.pageNumber, "PageSize", none ? null : query.pageSize);
        String account = account(token, clientAccessKey);
        if (account == null || account.equals("svc-token-refused")) {
            throw refusal("An error occurred when verifying security for the message.");
        }
        return account;
    }

    private static Contracts.FindResponse found(String account) {
        Contracts.FindResponse response = new Contracts.FindResponse();
        response.operationResult.success = true;
        response.operationResult.messages.add(message("OK", "The operation was successful.", "Information"));
        Contracts.PagingInfo paging = new Contracts.PagingInfo();
        paging.currentPage = 1;
        paging.pageSize = 1;
        response.operationResult.pagingInfo = paging;
        // One that does not honour the filter.
        if (account.equals("svc-unfiltered")) {
            Contracts.Record record = new Contracts.Record();
            record.employeeNumber = "000000007";
            response.results.add(record);
            paging.pageTotal = 1;
            paging.totalItems = 1;
        }
        return response;
    }

    private static Contracts.FindResponse denial() {
        Contracts.FindResponse response = new Contracts.FindResponse();
        response.operationResult.hasErrors = true;
        response.operationResult.messages.add(message("1", "You do not have permission to view this.", "Error"));
        return response;
    }

    private static Contracts.OperationMessage message(String code, String text, String severity) {
        Contracts.OperationMessage message = new Contracts.OperationMessage();
        message.code = code;
        message.message = text;
        message.severity = severity;
        return message;
    }
}
