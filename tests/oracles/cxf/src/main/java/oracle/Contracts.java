package oracle;

import jakarta.jws.WebMethod;
import jakarta.jws.WebParam;
import jakarta.jws.WebResult;
import jakarta.jws.WebService;
import jakarta.jws.soap.SOAPBinding;
import jakarta.xml.bind.annotation.XmlAccessType;
import jakarta.xml.bind.annotation.XmlAccessorType;
import jakarta.xml.bind.annotation.XmlElement;
import jakarta.xml.bind.annotation.XmlElementWrapper;
import jakarta.xml.bind.annotation.XmlRootElement;
import jakarta.xml.bind.annotation.XmlType;
import java.util.ArrayList;
import java.util.List;

/** What the three services take and give, with UKG Pro's names. All is public: CXF generates classes that reach in. */
public final class Contracts {
    static final String CONTRACTS = "http://www.ultipro.com/contracts";
    static final String LOGIN = "http://www.ultipro.com/services/loginservice";
    static final String PERSON = "http://www.ultipro.com/services/employeeperson";
    static final String JOB = "http://www.ultipro.com/services/employeejob";
    static final String TOKEN = "http://www.ultimatesoftware.com/foundation/authentication/ultiprotoken";
    static final String CLIENT_ACCESS_KEY = "http://www.ultimatesoftware.com/foundation/authentication/clientaccesskey";

    private Contracts() {}

    public enum Status { Ok, Failed }

    @XmlAccessorType(XmlAccessType.FIELD)
    @XmlType(name = "TokenRequest", namespace = CONTRACTS)
    public static class TokenRequest {}

    @XmlAccessorType(XmlAccessType.FIELD)
    @XmlType(name = "TokenResponse", namespace = CONTRACTS, propOrder = {"status", "statusMessage", "token"})
    @XmlRootElement(name = "TokenResponse", namespace = CONTRACTS)
    public static class TokenResponse {
        @XmlElement(name = "Status", namespace = LOGIN)
        Status status;

        @XmlElement(name = "StatusMessage", namespace = LOGIN, nillable = true)
        String statusMessage;

        @XmlElement(name = "Token", namespace = LOGIN, nillable = true)
        String token;
    }

    @WebService(name = "ILoginService", targetNamespace = LOGIN)
    @SOAPBinding(parameterStyle = SOAPBinding.ParameterStyle.BARE)
    public interface LoginService {
        @WebMethod(operationName = "Authenticate", action = LOGIN + "/ILoginService/Authenticate")
        @WebResult(name = "TokenResponse", targetNamespace = CONTRACTS)
        TokenResponse authenticate(
                @WebParam(name = "TokenRequest", targetNamespace = CONTRACTS) TokenRequest request,
                @WebParam(name = "ClientAccessKey", targetNamespace = LOGIN, header = true) String clientAccessKey,
                @WebParam(name = "Password", targetNamespace = LOGIN, header = true) String password,
                @WebParam(name = "UserAccessKey", targetNamespace = LOGIN, header = true) String userAccessKey,
                @WebParam(name = "UserName", targetNamespace = LOGIN, header = true) String userName);
    }

    /** {@code IncludeInactive} is not known of UKG Pro. It is here to show how a boolean is read. */
    @XmlAccessorType(XmlAccessType.FIELD)
    @XmlType(name = "EmployeeQuery", namespace = CONTRACTS,
            propOrder = {"employeeNumber", "includeInactive", "pageNumber", "pageSize"})
    public static class EmployeeQuery {
        @XmlElement(name = "EmployeeNumber", namespace = CONTRACTS)
        String employeeNumber;

        @XmlElement(name = "IncludeInactive", namespace = CONTRACTS)
        Boolean includeInactive;

        @XmlElement(name = "PageNumber", namespace = CONTRACTS)
        String pageNumber;

        @XmlElement(name = "PageSize", namespace = CONTRACTS)
        String pageSize;
    }

    @XmlAccessorType(XmlAccessType.FIELD)
    @XmlType(name = "OperationMessage", namespace = CONTRACTS,
            propOrder = {"code", "logEntryId", "message", "propertyName", "severity"})
    public static class OperationMessage {
        @XmlElement(name = "Code", namespace = CONTRACTS)
        String code;

        @XmlElement(name = "LogEntryId", namespace = CONTRACTS, nillable = true)
        String logEntryId;

        @XmlElement(name = "Message", namespace = CONTRACTS)
        String message;

        @XmlElement(name = "PropertyName", namespace = CONTRACTS, nillable = true)
        String propertyName;

        @XmlElement(name = "Severity", namespace = CONTRACTS)
        String severity;
    }

    @XmlAccessorType(XmlAccessType.FIELD)
    @XmlType(name = "PagingInfo", namespace = CONTRACTS, propOrder = {"currentPage", "pageSize", "pageTotal", "totalItems"})
    public static class PagingInfo {
        @XmlElement(name = "CurrentPage", namespace = CONTRACTS)
        int currentPage;

        @XmlElement(name = "PageSize", namespace = CONTRACTS)
        int pageSize;

        @XmlElement(name = "PageTotal", namespace = CONTRACTS)
        int pageTotal;

        @XmlElement(name = "TotalItems", namespace = CONTRACTS)
        int totalItems;
    }

    @XmlAccessorType(XmlAccessType.FIELD)
    @XmlType(name = "OperationResult", namespace = CONTRACTS,
            propOrder = {"hasErrors", "hasWarnings", "messages", "pagingInfo", "requestNumber", "success"})
    public static class OperationResult {
        @XmlElement(name = "HasErrors", namespace = CONTRACTS)
        boolean hasErrors;

        @XmlElement(name = "HasWarnings", namespace = CONTRACTS)
        boolean hasWarnings;

        @XmlElementWrapper(name = "Messages", namespace = CONTRACTS)
        @XmlElement(name = "OperationMessage", namespace = CONTRACTS)
        List<OperationMessage> messages = new ArrayList<>();

        @XmlElement(name = "PagingInfo", namespace = CONTRACTS, nillable = true)
        PagingInfo pagingInfo;

        @XmlElement(name = "RequestNumber", namespace = CONTRACTS, nillable = true)
        String requestNumber;

        @XmlElement(name = "Success", namespace = CONTRACTS)
        boolean success;
    }

    @XmlAccessorType(XmlAccessType.FIELD)
    @XmlType(name = "Record", namespace = CONTRACTS)
    public static class Record {
        @XmlElement(name = "EmployeeNumber", namespace = CONTRACTS)
        String employeeNumber;
    }

    @XmlAccessorType(XmlAccessType.FIELD)
    @XmlType(name = "FindResponse", namespace = CONTRACTS, propOrder = {"operationResult", "results"})
    public static class FindResponse {
        @XmlElement(name = "OperationResult", namespace = CONTRACTS)
        OperationResult operationResult = new OperationResult();

        @XmlElementWrapper(name = "Results", namespace = CONTRACTS)
        @XmlElement(name = "Record", namespace = CONTRACTS)
        List<Record> results = new ArrayList<>();
    }

    @WebService(name = "IEmployeePerson", targetNamespace = PERSON)
    public interface EmployeePerson {
        @WebMethod(operationName = "FindPeople", action = PERSON + "/IEmployeePerson/FindPeople")
        @WebResult(name = "FindPeopleResult", targetNamespace = PERSON)
        FindResponse findPeople(
                @WebParam(name = "query", targetNamespace = PERSON) EmployeeQuery query,
                @WebParam(name = "UltiProToken", targetNamespace = TOKEN, header = true) String token,
                @WebParam(name = "ClientAccessKey", targetNamespace = CLIENT_ACCESS_KEY, header = true) String clientAccessKey);
    }

    @WebService(name = "IEmployeeJob", targetNamespace = JOB)
    public interface EmployeeJob {
        @WebMethod(operationName = "FindJobs", action = JOB + "/IEmployeeJob/FindJobs")
        @WebResult(name = "FindJobsResult", targetNamespace = JOB)
        FindResponse findJobs(
                @WebParam(name = "query", targetNamespace = JOB) EmployeeQuery query,
                @WebParam(name = "UltiProToken", targetNamespace = TOKEN, header = true) String token,
                @WebParam(name = "ClientAccessKey", targetNamespace = CLIENT_ACCESS_KEY, header = true) String clientAccessKey);
    }
}
